// torch-free
// `lisa eval` with the shipped model on the original's layouts, as `lisa data tabletop` writes them.

#include <doctest/doctest.h>

#include <cstddef>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "lisa/files/json.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temp_dir.hpp"

using namespace lisa;
using lisa::test::ProgramRun;
using lisa::test::read_text;
using lisa::test::run_program;
using lisa::test::TempDir;

namespace {

namespace fs = std::filesystem;

const std::string shipped_model = LISA_TEST_DATA "/../models/lisa-tiny";
constexpr std::size_t scenes = 6;

/// A data folder with every layout; validation has `scenes` pictures.
fs::path written_world(const TempDir& folder) {
  const fs::path world = folder / "world";
  const ProgramRun run = run_program(LISA_TINY_PROGRAM, {"data", "tabletop", world.string(), "--training", "1",
                                                         "--validation", std::to_string(scenes), "--seed", "3"});
  REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  return world;
}

struct Evaluation {
  Json summary;
  std::vector<Json> records;
};

/// Evaluates a set in `world`. Each has a folder of its own beside it.
Evaluation evaluated(const fs::path& world, const std::string& set, const std::string& mode = "teacher-forced") {
  std::string output = world.string() + "-" + set;
  for (char& c : output)
    if (c == '|') c = '-';
  const ProgramRun run = run_program(
      LISA_TINY_PROGRAM, {"eval", "--model", shipped_model, "--data", world.string(), "--set", set, "--objects",
                          (world / "tabletop" / "objects" / "objects.jsonl").string(), "--mode", mode,
                          "--max-new-tokens", "32", "--threads", "1", "--output", output, "--json"});
  REQUIRE_MESSAGE(run.exit_code == 0, set << ": " << run.err);
  Evaluation evaluation{parse_json(run.out, "summary"), {}};
  CHECK(evaluation.summary.at("set") == set);
  CHECK(evaluation.summary.at("evaluated") == scenes);
  CHECK(evaluation.summary.at("complete") == true);
  std::istringstream lines(read_text(fs::path(output) / "records.jsonl"));
  for (std::string line; std::getline(lines, line);) evaluation.records.push_back(parse_json(line, "record"));
  CHECK(evaluation.records.size() == scenes);
  return evaluation;
}

const Json& result(const Json& summary, const std::string& method, const Json& group = nullptr) {
  for (const Json& entry : summary.at("results"))
    if (entry.at("method") == method && entry.at("group") == group) return entry;
  FAIL("no result of " << method << ", " << group.dump());
  return summary;
}

std::set<std::string> groups_of(const Json& summary) {
  std::set<std::string> groups;
  for (const Json& entry : summary.at("results"))
    if (!entry.at("group").is_null()) groups.insert(entry.at("group").get<std::string>());
  return groups;
}

}  // namespace

TEST_CASE("RefCOCO and its kin are evaluated where the original keeps them, a mask for each expression") {
  const TempDir folder;
  const fs::path world = written_world(folder);
  for (const char* const set : {"refclef|unc|val", "refcoco|unc|val", "refcoco+|unc|val", "refcocog|umd|val"}) {
    CAPTURE(set);
    const auto [summary, records] = evaluated(world, set);
    std::size_t expressions = 0;
    for (const Json& record : records) expressions += record.at("dialogues").size();
    const Json& forced = result(summary, "teacher_forced");
    CHECK(forced.at("images") == scenes);
    CHECK(forced.at("targets") == expressions);
    CHECK(groups_of(summary).empty());
    CHECK_FALSE(forced.contains("no_target_accuracy"));
    // Masks of other pictures, or of other objects, would not be found.
    CHECK(forced.at("giou").get<double>() > result(summary, "whole_image").at("giou").get<double>() + 0.1);
  }
}

TEST_CASE("gRefCOCO has N-acc and T-acc, for the model's own answers too") {
  const TempDir folder;
  const auto [summary, records] = evaluated(written_world(folder), "grefcoco|unc|val", "both");
  CHECK(groups_of(summary) == std::set<std::string>{"no target", "one", "several"});
  for (const std::string method : {"teacher_forced", "free_running", "whole_image"}) {
    CAPTURE(method);
    double absent = 0, absent_right = 0, present = 0, present_right = 0;
    for (const Json& record : records)
      for (const Json& dialogue : record.at("dialogues")) {
        const Json& areas = dialogue.at("results").at(method).at("overlaps").at(0);
        const bool nothing = areas.at(0) == 0, no_target = areas.at(1) == 0;
        CHECK(no_target == (dialogue.at("group") == "no target"));
        (no_target ? absent : present) += 1;
        if (no_target && nothing) absent_right += 1;
        if (!no_target && !nothing) present_right += 1;
      }
    REQUIRE(absent > 0);
    REQUIRE(present > 0);
    const Json& all = result(summary, method);
    CHECK(all.at("targets") == absent + present);
    CHECK(all.at("no_target_accuracy").get<double>() == doctest::Approx(absent_right / absent));
    CHECK(all.at("target_accuracy").get<double>() == doctest::Approx(present_right / present));
    CHECK(all.contains("generalized_giou"));
    CHECK(all.contains("generalized_ciou"));
    CHECK(result(summary, method, "no target").at("target_accuracy").is_null());
    CHECK_FALSE(result(summary, method, "one").contains("no_target_accuracy"));  // every target is there
  }
  CHECK(result(summary, "whole_image").at("no_target_accuracy") == 0);
  CHECK(result(summary, "whole_image").at("target_accuracy") == 1);
  CHECK(result(summary, "free_running").contains("mask_counts_right"));
}

TEST_CASE("semantic sets are evaluated by their classes, annotated objects by object and part") {
  const TempDir folder;
  const fs::path world = written_world(folder);
  for (const char* const set : {"ade20k|validation", "cocostuff|val2017", "mapillary|validation"}) {
    CAPTURE(set);
    const auto [summary, records] = evaluated(world, set);
    std::set<std::string> classes;
    std::size_t questions = 0;
    for (const Json& record : records)
      for (const Json& dialogue : record.at("dialogues")) {
        ++questions;
        classes.insert(dialogue.at("group").get<std::string>());
      }
    CHECK(classes.contains("table"));
    CHECK(classes.size() > 2);
    CHECK(groups_of(summary) == classes);
    CHECK(result(summary, "teacher_forced").at("targets") == questions);
    CHECK(result(summary, "teacher_forced", "table").at("giou").get<double>() >= 0);
  }
  for (const char* const set : {"paco_lvis|val", "pascal_part|val"}) {
    CAPTURE(set);
    const Json summary = evaluated(world, set).summary;
    CHECK(groups_of(summary) == std::set<std::string>{"object", "part"});
    CHECK(result(summary, "teacher_forced", "object").at("giou").get<double>() >
          result(summary, "whole_image", "object").at("giou").get<double>());
  }
}
