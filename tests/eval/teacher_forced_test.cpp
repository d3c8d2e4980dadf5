// The original's teacher-forced validation, recorded in tests/golden/v1.
#include "lisa/eval/teacher_forced.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/model/golden_spec.hpp"
#include "tests/support/recorded_exchange.hpp"
#include "tests/support/tensor_compare.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

const Json& recorded_json() {
  static const Json json = read_json(golden_folder + "v1/v1.json");
  return json;
}

const at::Tensor& recorded(const std::string& name) {
  static const std::map<std::string, at::Tensor> tensors = golden_tensors("v1/v1.safetensors");
  return tensors.at(name);
}

LabelMask label_mask(const at::Tensor& labels) {  // uint8 [H, W]
  const at::Tensor plain = labels.contiguous();
  const auto* begin = plain.const_data_ptr<std::uint8_t>();
  return {{static_cast<int>(plain.size(0)), static_cast<int>(plain.size(1))}, {begin, begin + plain.numel()}};
}

/// The recorded samples as the data room gives them.
std::vector<Sample> recorded_samples() {
  std::vector<Sample> samples;
  for (const Json& entry : recorded_json().at("samples")) {
    const std::string index = std::to_string(samples.size());
    Sample sample{"v1|" + index, read_image(golden_folder + "v1/v1_" + index + ".png"), {}};
    const at::Tensor& truth = recorded(index + ".gt_masks.0");
    for (const Json& text : entry.at("conversations")) {
      const auto n = static_cast<std::int64_t>(sample.dialogues.size());
      sample.dialogues.push_back({{recorded_exchange(text.get<std::string>())}, {label_mask(truth[n])}, ""});
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

/// Pixels whose recorded logit says otherwise and is not within 1e-3 of 0.
std::int64_t wrong_pixels(const BitMask& mask, const at::Tensor& logits) {  // [H, W]
  const at::Tensor found = mask_tensor(mask);
  return found.ne(logits.gt(0)).logical_and(logits.abs().ge(1e-3)).sum().item<std::int64_t>();
}

}  // namespace

TEST_CASE("teacher-forced masks are those of the original's validation") {
  Predictor<GoldenSpec> predictor(golden_model());
  const std::vector<Sample> samples = recorded_samples();
  REQUIRE(samples.size() == 2);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const std::string index = std::to_string(i);
    CAPTURE(index);
    predictor.set_image(samples[i].image);
    const auto masks = teacher_forced_masks(predictor, samples[i].dialogues);
    REQUIRE(masks.size() == samples[i].dialogues.size());
    for (std::size_t d = 0; d < masks.size(); ++d) {
      const auto row = static_cast<std::int64_t>(d);
      const at::Tensor ids = recorded(index + ".input_ids")[row];
      const auto used = recorded(index + ".attention_masks")[row].sum().item<std::int64_t>();
      const std::vector<std::int64_t> found = dialogue_ids(predictor, samples[i].dialogues[d]);
      REQUIRE(static_cast<std::int64_t>(found.size()) == used);
      for (std::int64_t t = 0; t < used; ++t) CHECK(found[static_cast<std::size_t>(t)] == ids[t].item<std::int64_t>());
      REQUIRE(masks[d].size() == 1);
      const at::Tensor& logits = recorded(index + ".pred_masks")[row];
      CHECK(wrong_pixels(masks[d][0].bits, logits) == 0);
      CHECK(largest_difference(full_size_logits(masks[d][0].low_res_logits, predictor.image()), logits) < 1e-3);
    }
  }
}

TEST_CASE("a batch of dialogues gives each the masks it gets alone, also with several turns") {
  const std::vector<Sample> samples = recorded_samples();
  std::vector<Dialogue> dialogues = samples[0].dialogues;
  dialogues.push_back({{dialogues[0].exchanges[0], {"And the [SEG] beside it?", "It is [SEG]."}}, {}, ""});
  dialogues.push_back({{{"What is this?", "A picture."}}, {}, ""});
  Predictor<GoldenSpec> predictor(golden_model());
  predictor.set_image(samples[0].image);
  const auto together = teacher_forced_masks(predictor, dialogues);
  REQUIRE(together.size() == 4);
  CHECK(together[2].size() == 3);
  CHECK(together[3].empty());
  for (std::size_t d = 0; d < dialogues.size(); ++d) {
    CAPTURE(d);
    Predictor<GoldenSpec> fresh(golden_model());
    fresh.set_image(samples[0].image);
    const auto alone = teacher_forced_masks(fresh, std::span(&dialogues[d], 1));
    REQUIRE(alone[0].size() == together[d].size());
    for (std::size_t i = 0; i < alone[0].size(); ++i)
      CHECK(relative_l2(together[d][i].low_res_logits, alone[0][i].low_res_logits) < 1e-4);
  }
  // The same words in the same place have the same state: the first turn does not see the second.
  CHECK(relative_l2(together[2][0].low_res_logits, together[0][0].low_res_logits) < 1e-4);
}

TEST_CASE("given answers leave the conversation of the predictor as it was") {
  const std::vector<Sample> samples = recorded_samples();
  Predictor<GoldenSpec> predictor(golden_model()), untouched(golden_model());
  AskOptions few;
  few.max_new_tokens = 6;
  for (auto* each : {&predictor, &untouched}) {
    each->set_image(samples[0].image);
    (void)each->ask("What is this?", few);
  }
  (void)teacher_forced_masks(predictor, samples[0].dialogues);
  CHECK(predictor.ask("And why?", few).answer_ids == untouched.ask("And why?", few).answer_ids);
  CHECK(predictor.conversation().prompt() == untouched.conversation().prompt());
}

TEST_CASE("a dialogue that cannot be a prompt is refused") {
  Predictor<GoldenSpec> predictor(golden_model());
  const std::vector<Dialogue> blank{{{{"  ", "[SEG]."}}, {}, ""}}, image{{{{"Where?", "<image> [SEG]."}}, {}, ""}};
  CHECK_THROWS_AS((void)teacher_forced_masks(predictor, blank), InputError);
  predictor.set_image(recorded_samples()[0].image);
  CHECK_THROWS_AS((void)teacher_forced_masks(predictor, blank), InputError);
  CHECK_THROWS_AS((void)teacher_forced_masks(predictor, image), InputError);
  CHECK(teacher_forced_masks(predictor, {}).empty());
}
