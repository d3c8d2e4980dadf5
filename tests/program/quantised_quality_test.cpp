// torch-free
// What weights in fewer bits cost the shipped model, by the demo's questions. bench/quantisation_error.cpp measures it
// on held-out scenes.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "lisa/files/json.hpp"
#include "lisa/image/mask.hpp"
#include "lisa/image/rle.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temp_dir.hpp"

using namespace lisa;
using lisa::test::ProgramRun;
using lisa::test::run_program;
using lisa::test::TempDir;

namespace {

const std::string shipped_model = LISA_TEST_DATA "/../models/lisa-tiny";

BitMask mask_of(const Json& record) {
  const Json& rle = record.at("segmentation");
  return decode_rle(parse_compressed_counts(rle.at("counts").get<std::string>(), rle.at("size")[0].get<std::int64_t>(),
                                            rle.at("size")[1].get<std::int64_t>()));
}

/// The masks of a model's answers to the demo's questions, one list for each.
std::vector<std::vector<BitMask>> demo_masks(const std::string& model, const std::string& output) {
  const ProgramRun run = run_program(
      LISA_TINY_PROGRAM, {"segment", "--model", model, "--jobs", LISA_TEST_DATA "/../examples/demo/questions.jsonl",
                          "--max-new-tokens", "40", "--output", output, "--json"});
  REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  std::vector<std::vector<BitMask>> answers;
  std::istringstream lines(run.out);
  for (std::string line; std::getline(lines, line);) {
    std::vector<BitMask>& masks = answers.emplace_back();
    const Json record = parse_json(line, "answer");
    for (const Json& mask : record.at("masks")) masks.push_back(mask_of(mask));
  }
  return answers;
}

/// Mean IoU of the masks of two models; a mask that one of them lacks counts as 0.
double mean_iou(const std::vector<std::vector<BitMask>>& found, const std::vector<std::vector<BitMask>>& expected) {
  REQUIRE(found.size() == expected.size());
  double sum = 0;
  std::size_t masks = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    masks += std::max(found[i].size(), expected[i].size());
    for (std::size_t k = 0; k < std::min(found[i].size(), expected[i].size()); ++k)
      sum += iou(found[i][k], expected[i][k]);
  }
  REQUIRE(masks > 0);
  return sum / static_cast<double>(masks);
}

}  // namespace

TEST_CASE("lisa-tiny in fewer bits gives the demo's masks again") {
  const TempDir folder;
  const auto expected = demo_masks(shipped_model, folder / "fp32-answers");
  CHECK(expected.size() == 5);
  // In 8 bits no answer may change; in 4 bits one of five may be about another object, when the others are as before.
  const std::vector<std::pair<std::string, double>> bounds{{"int8", 0.9}, {"int4", 0.7}, {"nf4", 0.7}};
  for (const auto& [format, bound] : bounds) {
    CAPTURE(format);
    const std::string model = folder / format;
    std::vector<std::string> convert{"convert", shipped_model, "--weights", format, "--output", model};
    if (format == "int8") convert.insert(convert.end(), {"--image-encoder-weights", "int8"});
    const ProgramRun run = run_program(LISA_TINY_PROGRAM, convert);
    REQUIRE_MESSAGE(run.exit_code == 0, run.err);
    const double found = mean_iou(demo_masks(model, folder / (format + "-answers")), expected);
    CAPTURE(found);
    CHECK(found > bound);
  }
}
