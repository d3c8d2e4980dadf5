// `lisa segment` and `lisa chat` of the program built for the recorded checkpoint's own sizes.

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "lisa/checkpoint/archive.hpp"
#include "lisa/files/json.hpp"
#include "lisa/image/read_image.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temp_dir.hpp"

// After libtorch's headers, which define CHECK as well.
#include <doctest/doctest.h>

using namespace lisa;
using lisa::test::ProgramRun;
using lisa::test::read_text;
using lisa::test::run_program;
using lisa::test::TempDir;
using lisa::test::write_text;

namespace {

namespace fs = std::filesystem;

const std::string golden = LISA_TEST_DATA "/golden";
const std::string dog_question = "Where is the dog in this image? Please output segmentation mask.";

std::vector<std::string> with_model(const std::string& command, const std::vector<std::string>& more) {
  std::vector<std::string> arguments{command, "--model", golden + "/model_a", "--vision-tower", golden + "/clip_a"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

ProgramRun segment(const std::vector<std::string>& more, std::optional<std::uint64_t> largest_file = {}) {
  return run_program(LISA_PROGRAM, with_model("segment", more), largest_file);
}

std::vector<std::string> dog(const TempDir& folder) {
  return {"--image", golden + "/a1/a1.png", "--prompt", dog_question, "--output", (folder / "out").string()};
}

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<std::string> files_in(const fs::path& folder) {
  std::vector<std::string> names;
  if (fs::exists(folder))
    for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::size_t lines_of(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return a.numel() == 0 ? 0 : a.to(at::kDouble).sub(b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace

TEST_CASE("segment answers into files and a dump that holds every recorded level") {
  const TempDir folder;
  const ProgramRun run =
      segment(dog(folder) + std::vector<std::string>{"--dump", (folder / "dump.safetensors").string(), "--logits",
                                                     "--polygons", "--dtype", "fp32"});
  REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  CHECK(files_in(folder / "out") ==
        std::vector<std::string>{"a1.json", "a1_logits.safetensors", "a1_mask_0.png", "a1_overlay.png"});
  CHECK(run.out.find("Sure, it is [SEG]") != std::string::npos);
  CHECK(run.out.find("image_encoder") != std::string::npos);

  const TensorArchive dump = read_archive(folder / "dump.safetensors");
  const TensorArchive recorded = read_archive(golden + "/a1/a1.safetensors");
  for (const auto& [name, expected] : recorded.tensors) {
    CAPTURE(name);
    REQUIRE(dump.tensors.contains(name));
    const at::Tensor& found = dump.tensors.at(name).value;
    REQUIRE(found.sizes() == expected.value.sizes());
    if (expected.value.is_floating_point())
      CHECK(largest_difference(found, expected.value) < 2e-3);
    else
      CHECK(at::equal(found, expected.value));
  }

  const Json record = read_json(folder / "out/a1.json");
  const Json reference = read_json(golden + "/a1/a1.json");
  CHECK(record.at("text_output").get<std::string>() == reference.at("text_output").get<std::string>());
  REQUIRE(record.at("masks").size() == 1);
  const Image mask = read_image(folder / "out/a1_mask_0.png");
  CHECK(mask.size() == ImageSize{333, 517});
  std::int64_t area = 0;
  for (std::size_t i = 0; i < mask.pixels.size(); i += 3) area += mask.pixels[i] == 255 ? 1 : 0;
  CHECK(record.at("masks").at(0).at("area").get<std::int64_t>() == area);
  CHECK(std::abs(area - reference.at("mask_positive_pixels").at(0).get<std::int64_t>()) < 100);
}

TEST_CASE("--json prints records and nothing else; a job list continues where it stopped") {
  const TempDir folder;
  const std::string images = fs::absolute(golden).string();  // other paths count from the job list's folder
  write_text(folder / "jobs.jsonl", "{\"image\": \"" + images + "/a1/a1.png\", \"prompt\": \"" + dog_question +
                                        "\", \"id\": \"dog\"}\n{\"image\": \"missing.png\", \"prompt\": \"x\"}\n"
                                        "{\"image\": \"" +
                                        images + "/a3/a3.png\", \"prompt\": \"Describe it.\"}\n");
  const std::vector<std::string> jobs{
      "--jobs", (folder / "jobs.jsonl").string(), "--output", (folder / "out").string(), "--max-new-tokens", "20",
      "--json"};
  const ProgramRun first = segment(jobs);
  CHECK(first.exit_code == 8);
  CHECK(lines_of(first.out) == 2);
  CHECK(first.err.find("missing.png") != std::string::npos);
  CHECK(Json::parse(first.out.substr(0, first.out.find('\n'))).at("id") == "dog");

  fs::copy(golden + "/a1/a1.png", folder / "missing.png");
  const ProgramRun second = segment(jobs);
  CHECK_MESSAGE(second.exit_code == 0, second.err);
  CHECK(lines_of(second.out) == 1);
  CHECK(segment(jobs + std::vector<std::string>{"--overwrite"}).out.size() > second.out.size());
  // Another question under the same id is another request, and so are other files.
  CHECK(lines_of(segment(jobs + std::vector<std::string>{"--seed", "1"}).out) == 3);
  CHECK(lines_of(segment(jobs + std::vector<std::string>{"--seed", "1", "--logits"}).out) == 3);
  CHECK(fs::exists(folder / "out/dog_logits.safetensors"));
}

TEST_CASE("a job list that is answered ends without its model") {
  const TempDir folder;
  fs::copy(golden + "/model_a", folder / "model", fs::copy_options::recursive);
  const std::string image = fs::absolute(golden + "/a1/a1.png").string();
  write_text(folder / "jobs.jsonl", "{\"image\": \"" + image + "\", \"prompt\": \"What?\", \"id\": \"a\"}\n" +
                                        "{\"image\": \"" + image + "\", \"prompt\": \"Where?\", \"id\": \"b\"}\n");
  const auto run = [&](const std::vector<std::string>& more) {
    return run_program(LISA_PROGRAM,
                       std::vector<std::string>{"segment", "--model", (folder / "model").string(), "--vision-tower",
                                                golden + "/clip_a", "--jobs", (folder / "jobs.jsonl").string(),
                                                "--output", (folder / "out").string(), "--max-new-tokens", "3"} +
                           more);
  };
  REQUIRE(run({}).exit_code == 0);
  fs::remove_all(folder / "model");
  const ProgramRun again = run({});
  CHECK_MESSAGE(again.exit_code == 0, again.err);
  CHECK(again.err.find("2 of 2 jobs were answered") != std::string::npos);
  CHECK(run({"--overwrite"}).exit_code != 0);
  fs::remove(folder / "out/b.json");
  CHECK(run({}).exit_code != 0);
}

TEST_CASE("a folder of features spares a later run the image encoder") {
  const TempDir folder;
  const auto record = [&] {
    const ProgramRun run =
        segment(dog(folder) + std::vector<std::string>{"--json", "--feature-cache", (folder / "features").string()});
    REQUIRE_MESSAGE(run.exit_code == 0, run.err);
    return Json::parse(run.out);
  };
  const Json first = record(), second = record();
  CHECK(first.at("seconds").at("image_encoder") > 0);
  CHECK(second.at("seconds").at("image_encoder") == 0);
  CHECK(second.at("answer_ids") == first.at("answer_ids"));
  CHECK(second.at("masks").at(0).at("area") == first.at("masks").at(0).at("area"));
}

TEST_CASE("drafts leave the answer as it is; --no-drafts and --draft choose them") {
  const TempDir folder;
  const auto record = [&](const std::vector<std::string>& more) {
    const ProgramRun run = segment(dog(folder) + std::vector<std::string>{"--json", "--dtype", "fp32"} + more);
    REQUIRE_MESSAGE(run.exit_code == 0, run.err);
    return Json::parse(run.out);
  };
  const Json plain = record({"--no-drafts"}), usual = record({}), own = record({"--draft", "Sure, never."});
  CHECK(plain.at("drafted_tokens") == 0);
  CHECK(usual.at("drafted_tokens") == usual.at("answer_ids").size() - 1);
  CHECK(own.at("drafted_tokens") > 0);
  CHECK(own.at("drafted_tokens") < usual.at("drafted_tokens"));
  CHECK(usual.at("answer_ids") == plain.at("answer_ids"));
  CHECK(own.at("answer_ids") == plain.at("answer_ids"));
  CHECK(segment(dog(folder) + std::vector<std::string>{"--no-drafts", "--draft", "x"}).exit_code != 0);
}

TEST_CASE("a pattern names every image that it matches; how far the work is goes to standard error, without colours") {
  const TempDir folder;
  fs::copy(golden + "/a1/a1.png", folder / "b.png");
  fs::copy(golden + "/a3/a3.png", folder / "a.png");
  const std::vector<std::string> request{
      "--image",  (folder / "*.png").string(), "--prompt", dog_question, "--force-answer", "It is [SEG] .", "--json",
      "--output", (folder / "out").string()};
  const ProgramRun run = segment(request);
  CHECK(run.exit_code == 0);
  REQUIRE(lines_of(run.out) == 2);
  const std::size_t second = run.out.find('\n') + 1;
  for (const auto& [line, id] : {std::pair{run.out.substr(0, second), "a"}, std::pair{run.out.substr(second), "b"}}) {
    const Json record = Json::parse(line);
    CHECK(record.at("id") == id);
    CHECK(record.at("answer") == "It is [SEG] .");
    CHECK(record.at("masks").size() == 1);
  }
  CHECK(run.err.find("answered 2/2, ") != std::string::npos);
  CHECK(run.err.find('\x1b') == std::string::npos);

  // What an earlier run has answered is no part of the work that is left.
  fs::copy(folder / "a.png", folder / "c.png");
  const ProgramRun more = segment(request);
  CHECK(lines_of(more.out) == 1);
  CHECK(more.err.find("2 of 3 jobs") != std::string::npos);
  CHECK(more.err.find("answered 1/1, ") != std::string::npos);
}

TEST_CASE("twenty questions about an image take no more memory than the first") {
  const TempDir folder;
  std::string jobs;
  for (int i = 0; i < 20; ++i)
    jobs += Json{{"image", fs::absolute(golden + "/a1/a1.png").string()},
                 {"prompt", "What is it? (" + std::to_string(i) + ")"},
                 {"id", std::to_string(i)}}
                .dump() +
            "\n";
  write_text(folder / "jobs.jsonl", jobs);
  const ProgramRun run = segment({"--jobs", (folder / "jobs.jsonl").string(), "--force-answer", "[SEG]....", "--output",
                                  (folder / "out").string(), "--json"});
  REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  std::vector<std::int64_t> peaks;
  std::istringstream lines(run.out);
  for (std::string line; std::getline(lines, line);)
    peaks.push_back(Json::parse(line).at("peak_memory_bytes").get<std::int64_t>());
  REQUIRE(peaks.size() == 20);
  // The keys and values of one question would be 0.5 MB, those of all of them 10 MB.
  CHECK(peaks.back() - peaks.front() < (4 << 20));
}

TEST_CASE("every command explains itself, with examples") {
  for (const std::string command :
       {"segment", "chat", "eval", "data check", "data show", "info", "convert", "random"}) {
    CAPTURE(command);
    std::vector<std::string> arguments;
    std::istringstream words(command);
    for (std::string word; words >> word;) arguments.push_back(word);
    const ProgramRun run = run_program(LISA_PROGRAM, arguments + std::vector<std::string>{"--help"});
    CHECK(run.exit_code == 0);
    CHECK(run.err.empty());
    CHECK(run.out.find("Example") != std::string::npos);
    CHECK(run.out.find("  lisa " + command + " ") != std::string::npos);
  }
  const ProgramRun all = run_program(LISA_PROGRAM, {"--help"});
  for (const char* code :
       {"Exit codes: 0", "1 fault", "2 wrong", "3 file", "4 broken", "5 files", "6 unusable", "7 refused", "8 some"})
    CHECK_MESSAGE(all.out.find(code) != std::string::npos, code);
}

TEST_CASE("an unusable request is one line on standard error, an exit code and no file") {
  struct Row {
    const char* what;
    std::vector<std::string> arguments;
    int exit_code;
    std::string words;
  };
  const TempDir folder;
  write_text(folder / "broken.png", "this is no picture");
  write_text(folder / "jobs.jsonl", "{\"image\": 3}\nnot json\n");
  const std::string out = (folder / "out").string(), image = golden + "/a1/a1.png";
  const std::vector<Row> rows{
      {"no image", with_model("segment", {"--prompt", "x", "--output", out}), 6, "--image"},
      {"no question", with_model("segment", {"--image", image, "--output", out}), 6, "--prompt"},
      {"blank question", with_model("segment", {"--image", image, "--prompt", "  ", "--output", out}), 6, "question"},
      {"two images in the question",
       with_model("segment", {"--image", image, "--prompt", "a <image>", "--output", out}), 6, "<image>"},
      {"missing image", with_model("segment", {"--image", "nowhere.png", "--prompt", "x", "--output", out}), 3,
       "nowhere.png"},
      {"no picture",
       with_model("segment", {"--image", (folder / "broken.png").string(), "--prompt", "x", "--output", out}), 4,
       "broken.png"},
      {"pattern without a match", with_model("segment", {"--image", "nowhere*.png", "--prompt", "x", "--output", out}),
       3, "nowhere*.png"},
      {"bad job lines", with_model("segment", {"--jobs", (folder / "jobs.jsonl").string(), "--output", out}), 4,
       "line 2"},
      {"temperature",
       with_model("segment", {"--image", image, "--prompt", "x", "--temperature", "-1", "--output", out}), 6,
       "temperature"},
      {"unknown option", with_model("segment", {"--bogus"}), 2, "bogus"},
      {"no answer wanted",
       with_model("segment", {"--image", image, "--prompt", "x", "--max-new-tokens", "0", "--output", out}), 2,
       "--max-new-tokens: Value 0 not in range 1 to "},
      {"unknown dtype", with_model("segment", {"--image", image, "--prompt", "x", "--dtype", "fp7", "--output", out}),
       6, "fp7"},
      {"no device", with_model("segment", {"--image", image, "--prompt", "x", "--device", "gpu", "--output", out}), 6,
       "device: found \"gpu\", expected cpu or cuda[:index]"},
      {"no GPU", with_model("segment", {"--image", image, "--prompt", "x", "--device", "cuda:99", "--output", out}), 6,
       "device: found \"cuda:99\", expected "},
      {"another kind of model",
       {"segment", "--model", golden + "/clip_a", "--image", image, "--prompt", "x", "--output", out},
       5,
       "CLIPModel"},
      {"no such folder",
       {"segment", "--model", "nowhere", "--image", image, "--prompt", "x", "--output", out},
       3,
       "nowhere"},
      {"vision tower not here",
       {"segment", "--model", golden + "/model_a", "--image", image, "--prompt", "x", "--output", out},
       6,
       "--vision-tower"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const ProgramRun run = run_program(LISA_PROGRAM, row.arguments);
    CHECK(run.exit_code == row.exit_code);
    CAPTURE(run.err);
    CHECK(run.err.find(row.words) != std::string::npos);
    // One line, below it its list of defects; an option that the parser refuses brings the advice to ask for help.
    CHECK(lines_of(run.err) - count_of(run.err, "\n  ") == (row.exit_code == 2 ? 2 : 1));
    CHECK(run.err.find("#0") == std::string::npos);  // no stack trace
    CHECK(run.out.empty());
    CHECK(files_in(out).empty());
  }
}

TEST_CASE("a checkpoint of other sizes names the closest specification's differences") {
  const TempDir folder;
  fs::copy(golden + "/model_a", folder / "model");
  std::string config = read_text(folder / "model/config.json");
  config.replace(config.find("\"hidden_size\": 64"), 17, "\"hidden_size\": 128");
  write_text(folder / "model/config.json", config);
  const ProgramRun run = run_program(
      LISA_PROGRAM, {"segment", "--model", (folder / "model").string(), "--vision-tower", golden + "/clip_a", "--image",
                     golden + "/a1/a1.png", "--prompt", "x", "--output", (folder / "out").string()});
  CHECK(run.exit_code == 5);
  CHECK(run.err.find("hidden_size: found 128, expected 64") != std::string::npos);
  CHECK(run.err.find("lisa info --spec") != std::string::npos);
}

TEST_CASE("a full disk leaves no partial file under its final name") {
  const TempDir folder;
  const ProgramRun run = segment(dog(folder) + std::vector<std::string>{"--logits"}, 4096);
  CHECK(run.exit_code == 3);
  CHECK(lines_of(run.err) == 1);
  for (const std::string& name : files_in(folder / "out")) {
    CAPTURE(name);  // what is there is whole: a picture that can be read
    CHECK(name.ends_with(".png"));
    CHECK_NOTHROW((void)read_image(folder / "out" / name));
  }
}

TEST_CASE("chat holds a conversation, reports mistakes and goes on") {
  const TempDir folder;
  write_text(folder / "input",
             "Too early?\n:image " + golden + "/a1/a1.png\n" + dog_question + "\nAnd why?\n:nonsense\n:quit\n");
  const ProgramRun run =
      run_program(LISA_PROGRAM, with_model("chat", {"--output", (folder / "out").string(), "--max-new-tokens", "12"}),
                  {}, (folder / "input").string());
  CHECK(run.exit_code == 0);
  CHECK(run.err.find(":image FILE") != std::string::npos);
  CHECK(run.err.find(":nonsense") != std::string::npos);
  CHECK(run.out.find("Sure, it is [SEG]") != std::string::npos);
  CHECK(fs::exists(folder / "out/turn_1_mask_0.png"));
  CHECK(run.out.find("turn_1_overlay.png") != std::string::npos);
}
