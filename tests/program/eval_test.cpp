// torch-free
// `lisa eval` of the program built for the recorded checkpoint's own sizes.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lisa/files/json.hpp"
#include "lisa/image/encode_png.hpp"
#include "tests/support/recorded_arrays.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temp_dir.hpp"

using namespace lisa;
using lisa::test::ProgramRun;
using lisa::test::read_text;
using lisa::test::RecordedArray;
using lisa::test::run_program;
using lisa::test::TempDir;
using lisa::test::write_text;

namespace {

namespace fs = std::filesystem;

const std::string golden = LISA_TEST_DATA "/golden";

ProgramRun eval(const TempDir& folder, const std::vector<std::string>& more, const std::string& output = "out") {
  std::vector<std::string> arguments{"eval",
                                     "--model",
                                     golden + "/model_a",
                                     "--vision-tower",
                                     golden + "/clip_a",
                                     "--data",
                                     folder / "set.jsonl",
                                     "--output",
                                     folder / output,
                                     "--max-new-tokens",
                                     "8"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program(LISA_PROGRAM, arguments);
}

/// A grey PNG file, white where a label is `wanted`.
void write_mask(const fs::path& path, const RecordedArray& labels, std::size_t index, std::uint8_t wanted) {
  const auto height = static_cast<std::size_t>(labels.shape[1]), width = static_cast<std::size_t>(labels.shape[2]);
  std::vector<std::uint8_t> levels;
  for (std::size_t i = 0; i < height * width; ++i)
    levels.push_back(labels.bytes[index * height * width + i] == wanted ? 255 : 0);
  const auto png = encode_grey_png(levels, {static_cast<int>(height), static_cast<int>(width)});
  write_text(path, {reinterpret_cast<const char*>(png.data()), png.size()});
}

/// The recorded validation as a JSON-lines data set of two images.
void write_recorded_set(const TempDir& folder) {
  const Json recorded = read_json(golden + "/v1/v1.json");
  const std::map<std::string, RecordedArray> arrays = lisa::test::recorded_arrays(golden + "/v1/v1.safetensors");
  std::string lines;
  for (std::size_t s = 0; s < recorded.at("samples").size(); ++s) {
    const std::string image = "v1_" + std::to_string(s) + ".png";
    fs::copy(golden + "/v1/" + image, folder / image);
    Json line{{"image", image}, {"dialogues", Json::array()}};
    const Json& texts = recorded.at("samples")[s].at("conversations");
    for (std::size_t d = 0; d < texts.size(); ++d) {
      const auto text = texts[d].get<std::string>();
      const std::string start = "<im_end>\n";
      const std::size_t begin = text.find(start) + start.size();
      const std::string mask = "mask_" + std::to_string(s) + "_" + std::to_string(d);
      const RecordedArray& labels = arrays.at(std::to_string(s) + ".gt_masks.0");
      write_mask(folder / (mask + ".png"), labels, d, 1);
      write_mask(folder / (mask + "_ignored.png"), labels, d, 255);
      line["dialogues"].push_back(
          {{"question", text.substr(begin, text.find(" ASSISTANT:") - begin)},
           {"answer", "[SEG]."},
           {"group", "group " + std::to_string(d)},
           {"masks", Json::array({{{"foreground", mask + ".png"}, {"ignored", mask + "_ignored.png"}}})}});
    }
    lines += line.dump() + "\n";
  }
  write_text(folder / "set.jsonl", lines);
}

const Json& result(const Json& summary, const std::string& method, const Json& group = nullptr) {
  for (const Json& entry : summary.at("results"))
    if (entry.at("method") == method && entry.at("group") == group) return entry;
  FAIL("no result of " << method);
  return summary;
}

std::size_t lines_of(const std::string& text) { return static_cast<std::size_t>(std::ranges::count(text, '\n')); }

}  // namespace

TEST_CASE("teacher-forced scores are those of the original's validation, and the records say the rest") {
  const TempDir folder;
  write_recorded_set(folder);
  const ProgramRun run = eval(folder, {"--json", "--report", "--mode", "both"});
  REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  CHECK(lines_of(run.out) == 1);
  const Json summary = parse_json(run.out, "summary");
  CHECK(summary == read_json(folder / "out/summary.json"));
  CHECK(summary.at("complete") == true);
  const Json recorded = read_json(golden + "/v1/v1.json");
  const Json& forced = result(summary, "teacher_forced");
  CHECK(forced.at("original_giou").get<double>() == doctest::Approx(recorded.at("giou").get<double>()).epsilon(1e-6));
  CHECK(forced.at("original_ciou").get<double>() == doctest::Approx(recorded.at("ciou").get<double>()).epsilon(1e-6));
  CHECK(forced.at("giou").get<double>() == doctest::Approx(recorded.at("giou").get<double>()).epsilon(1e-4));
  CHECK(forced.at("targets") == 3);
  CHECK(result(summary, "teacher_forced", "group 1").at("targets") == 1);
  CHECK(result(summary, "free_running").contains("exact_answers"));
  CHECK(result(summary, "whole_image").at("giou").get<double>() > 0);
  CHECK(lines_of(read_text(folder / "out/records.jsonl")) == 2);
  const std::string html = read_text(folder / "out/report.html");
  CHECK(html.find("free_running") != std::string::npos);
  CHECK(html.find("What is the bottle in this image?") != std::string::npos);

  const ProgramRun table = eval(folder, {"--scores", "original"});  // nothing is left to evaluate
  CHECK(table.exit_code == 0);
  CHECK(table.out.find("teacher_forced") != std::string::npos);
  CHECK(table.out.find("23.0") != std::string::npos);
}

TEST_CASE("a run goes on where it was stopped, and processes share the samples") {
  const TempDir folder;
  write_recorded_set(folder);
  REQUIRE(eval(folder, {}).exit_code == 0);
  const std::string whole = read_text(folder / "out/records.jsonl");
  const std::size_t first = whole.find('\n') + 1;
  write_text(folder / "out/records.jsonl", whole.substr(0, first + 100));  // killed within the second record
  REQUIRE(eval(folder, {}).exit_code == 0);
  CHECK(read_text(folder / "out/records.jsonl") == whole);

  const ProgramRun rank1 = eval(folder, {"--rank", "1", "--world", "2"}, "shared");
  CHECK(rank1.exit_code == 0);
  CHECK(rank1.out.find("Of 2 samples 1 have records so far") != std::string::npos);
  const ProgramRun rank0 = eval(folder, {"--rank", "0", "--world", "2", "--json"}, "shared");
  CHECK(parse_json(rank0.out, "summary").at("complete") == true);
  CHECK(read_text(folder / "shared/records-0-of-2.jsonl") + read_text(folder / "shared/records-1-of-2.jsonl") == whole);
  CHECK(read_json(folder / "shared/summary.json") == read_json(folder / "out/summary.json"));
}

TEST_CASE("a broken picture is named and counted, and tried again by the next run") {
  const TempDir folder;
  write_recorded_set(folder);
  const std::string picture = read_text(folder / "v1_1.png");
  write_text(folder / "v1_1.png", picture.substr(0, 300));
  const ProgramRun broken = eval(folder, {"--json", "--mode", "teacher-forced"});
  CHECK(broken.exit_code == 8);
  CHECK(broken.err.find("v1_1.png") != std::string::npos);
  CHECK(broken.err.find("1 samples failed") != std::string::npos);
  CHECK(parse_json(broken.out, "summary").at("evaluated") == 1);
  write_text(folder / "v1_1.png", picture);
  const ProgramRun repaired = eval(folder, {"--json", "--mode", "teacher-forced"});
  CHECK(repaired.exit_code == 0);
  CHECK(parse_json(repaired.out, "summary").at("evaluated") == 2);
}

TEST_CASE("objects give two more baselines; --limit takes the first samples") {
  const TempDir folder;
  write_recorded_set(folder);
  const ProgramRun run =
      eval(folder, {"--json", "--mode", "teacher-forced", "--objects", folder / "set.jsonl", "--limit", "1"});
  REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  const Json summary = parse_json(run.out, "summary");
  CHECK(summary.at("samples") == 1);
  CHECK(result(summary, "largest_object").at("images") == 1);
  CHECK(result(summary, "random_object").at("images") == 1);
  for (const Json& entry : summary.at("results")) CHECK(entry.at("method") != "free_running");
}

TEST_CASE("a set of LISA's layouts is opened by its name, its groups are those of the data") {
  const TempDir folder;
  const fs::path split = folder / "reason_seg/ReasonSeg/val";
  fs::create_directories(split);
  for (const char* name : {"a", "b"}) {
    fs::copy(golden + "/v1/v1_0.png", split / (std::string(name) + ".jpg"));
    write_text(split / (std::string(name) + ".json"),
               R"({"text": ["something to drink"], "is_sentence": )" + std::string(*name == 'a' ? "true" : "false") +
                   R"(, "shapes": [{"label": "target", "points": [[10, 10], [60, 10], [60, 60]]}]})");
  }
  const ProgramRun run =
      run_program(LISA_PROGRAM, {"eval", "--model", golden + "/model_a", "--vision-tower", golden + "/clip_a", "--data",
                                 folder.path(), "--set", "ReasonSeg|val", "--mode", "teacher-forced", "--output",
                                 folder / "out", "--json"});
  REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  const Json summary = parse_json(run.out, "summary");
  CHECK(summary.at("set") == "ReasonSeg|val");
  for (const char* group : {"long", "short"}) CHECK(result(summary, "teacher_forced", group).at("targets") == 1);
}

TEST_CASE("an unusable evaluation is one line on standard error, an exit code and no file") {
  struct Row {
    const char* what;
    std::vector<std::string> more;
    int exit_code;
    std::string words;
  };
  const TempDir folder;
  write_recorded_set(folder);
  write_text(folder / "bad.jsonl", "{\"image\": 3}\n");
  const std::vector<Row> rows{{"rank", {"--rank", "2", "--world", "2"}, 6, "rank"},
                              {"mode", {"--mode", "guess"}, 2, "guess"},
                              {"objects", {"--objects", folder / "bad.jsonl"}, 4, "bad.jsonl"},
                              {"no objects", {"--objects", folder / "none.jsonl"}, 3, "none.jsonl"},
                              {"temperature", {"--temperature", "-1"}, 6, "temperature"},
                              {"begin anew", {"--overwrite", "--world", "2"}, 6, "--overwrite"},
                              {"set", {"--set", "nonsense"}, 6, "nonsense"}};
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const ProgramRun run = eval(folder, row.more);
    CAPTURE(run.err);
    CHECK(run.exit_code == row.exit_code);
    CHECK(run.err.find(row.words) != std::string::npos);
    CHECK(run.out.empty());
    CHECK_FALSE(fs::exists(folder / "out"));
  }
}

TEST_CASE("records of another evaluation are not mixed in") {
  const TempDir folder;
  write_recorded_set(folder);
  REQUIRE(eval(folder, {"--mode", "teacher-forced", "--limit", "1"}).exit_code == 0);
  const std::string before = read_text(folder / "out/records.jsonl");
  const ProgramRun other = eval(folder, {"--mode", "both", "--limit", "1"});
  CHECK(other.exit_code == 6);
  CHECK(other.err.find("mode: found \"teacher-forced\", expected \"both\"") != std::string::npos);
  CHECK(read_text(folder / "out/records.jsonl") == before);
  CHECK(eval(folder, {"--mode", "both", "--limit", "1", "--overwrite"}).exit_code == 0);
  CHECK(read_text(folder / "out/records.jsonl") != before);
}
