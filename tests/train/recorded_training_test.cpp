// A training batch of the original, recorded in tests/golden/t1: its losses, gradients and five AdamW steps.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lisa/checkpoint/canonical_name.hpp"
#include "lisa/train/adamw.hpp"
#include "lisa/train/gradients.hpp"
#include "lisa/train/schedule.hpp"
#include "lisa/train/trainable.hpp"
#include "lisa/train/training_forward.hpp"
#include "tests/model/golden_spec.hpp"
#include "tests/support/recorded_exchange.hpp"
#include "tests/support/tensor_compare.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

/// The recorded run's adapters.
struct RecordedSpec : GoldenSpec {
  static constexpr LoraConfig lora{.rank = 4, .alpha = 8, .dropout = 0};
};

const Json& recorded_json() {
  static const Json json = read_json(golden_folder + "t1/t1.json");
  return json;
}

/// Tensors of a file of the recorded run, by the names of a checkpoint.
std::map<std::string, at::Tensor> recorded_weights(const std::string& file) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, value] : golden_tensors("t1/" + file)) tensors[canonical_name(name)] = value;
  return tensors;
}

std::map<std::string, at::Tensor> recorded_batch() { return golden_tensors("t1/t1.safetensors"); }

LoadedModel<RecordedSpec> recorded_model() {
  LoadedModel<RecordedSpec> loaded = load<RecordedSpec>(golden_checkpoint, golden_options());
  const auto adapters = recorded_weights("t1_lora_init.safetensors");
  loaded.model.llm.for_each_adapter(
      [&](const std::string& name, at::Tensor& value, const Shape&) { value = adapters.at(name); });
  return loaded;
}

/// The recorded samples as the data room gives them: three dialogues about the first image, two about the second.
std::vector<Sample> recorded_samples() {
  const auto batch = recorded_batch();
  const auto offset = batch.at("offset").contiguous();
  const auto* begin = offset.const_data_ptr<std::int64_t>();
  std::vector<Sample> samples;
  for (std::int64_t i = 0; i < 2; ++i) {
    const std::string index = std::to_string(i);
    Sample sample{"t1|" + index, read_image(golden_folder + "t1/t1_" + index + ".png"), {}};
    const at::Tensor masks = batch.at("gt_masks." + index).contiguous();
    for (std::int64_t c = begin[i]; c < begin[i + 1]; ++c) {
      const at::Tensor mask = masks[c - begin[i]].contiguous();
      const auto* labels = mask.const_data_ptr<std::uint8_t>();
      sample.dialogues.push_back(
          {{recorded_exchange(recorded_json().at("conversations").at(static_cast<std::size_t>(c)).get<std::string>())},
           {{sample.image.size(), {labels, labels + mask.numel()}}},
           ""});
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

TrainingBatch training_batch(const LoadedModel<RecordedSpec>& loaded) {
  TrainingBatch batch;
  for (const Sample& sample : recorded_samples())
    batch.push_back(prepare_training_image(sample, loaded.tokenizer, training_format(loaded)));
  return batch;
}

void check_losses(const LossParts& found, const Json& expected) {
  const auto check = [&](const char* name, const at::Tensor& loss) {
    CAPTURE(name);
    CHECK(loss.item<double>() == doctest::Approx(expected.at(name).get<double>()).epsilon(1e-5));
  };
  check("ce_loss", found.ce);
  check("mask_bce_loss", found.bce);
  check("mask_dice_loss", found.dice);
  check("mask_loss", found.mask());
  check("loss", found.total());
}

}  // namespace

TEST_CASE("recorded dialogues have the original's token ids and labels") {
  const LoadedModel<RecordedSpec> loaded = recorded_model();
  const auto recorded = recorded_batch();
  std::int64_t row = 0;
  for (const TrainingImage& image : training_batch(loaded)) {
    for (const DialogueTokens& tokens : image.dialogues) {
      const auto length = static_cast<std::int64_t>(tokens.ids.size());
      CHECK(recorded.at("attention_masks")[row].sum().item<std::int64_t>() == length);
      CHECK(at::tensor(tokens.ids).equal(recorded.at("input_ids")[row].narrow(0, 0, length)));
      CHECK(at::tensor(tokens.labels).equal(recorded.at("labels")[row].narrow(0, 0, length)));
      ++row;
    }
  }
  CHECK(row == 5);
}

TEST_CASE("a mask of another size than its image is refused by the sample's name") {
  const LoadedModel<RecordedSpec> loaded = recorded_model();
  Sample sample = recorded_samples()[1];
  sample.dialogues[1].masks[0] = {{3, 4}, std::vector<std::uint8_t>(12)};
  std::string message;
  try {
    (void)prepare_training_image(sample, loaded.tokenizer, training_format(loaded));
  } catch (const InputError& error) {
    message = error.what();
  }
  CHECK(message == "t1|1: mask: found 4x3, expected 90x150, the image's size");
}

TEST_CASE("the recorded batch has the original's losses, hidden states, masks and gradients") {
  LoadedModel<RecordedSpec> loaded = recorded_model();
  const std::vector<TrainedParameter> parameters = set_trainable(loaded.model, lisa_recipe);
  const TrainingBatch batch = training_batch(loaded);
  const TrainingOutput output = training_forward(loaded.model, batch);
  check_losses(output.losses, recorded_json().at("losses"));

  const auto recorded = recorded_batch();
  // The states that predict the labels, dialogue by dialogue.
  std::vector<at::Tensor> expected_states;
  std::int64_t row = 0;
  for (const TrainingImage& image : batch) {
    for (const DialogueTokens& tokens : image.dialogues) {
      for (std::size_t i = 0; i < tokens.labels.size(); ++i)
        if (tokens.labels[i] != ignored_label)
          expected_states.push_back(recorded.at("last_hidden_states")[row][static_cast<std::int64_t>(i) + 254]);
      ++row;
    }
  }
  CHECK(relative_l2(output.hidden_states.index_select(0, output.rows.label_rows), at::stack(expected_states)) < 1e-5);
  for (std::int64_t i = 0; i < 2; ++i) {
    const TrainingImage& image = batch[static_cast<std::size_t>(i)];
    const at::Tensor own = output.low_res_masks.slice(0, i == 0 ? 0 : 3, i == 0 ? 3 : 5);
    const at::Tensor expected = recorded.at("pred_masks." + std::to_string(i));
    CHECK(relative_l2(mask_logits(own, golden_sam.image, image.resized, image.original).squeeze(1), expected) < 1e-4);
  }

  output.loss.backward();
  std::map<std::string, at::Tensor> gradients;
  for (const TrainedParameter& parameter : parameters) gradients[parameter.name] = parameter.value.grad();

  std::vector<std::string> noise;
  for (const Json& name : recorded_json().at("gradient_is_rounding_noise"))
    noise.push_back(canonical_name(name.get<std::string>()));
  std::size_t compared = 0;
  for (const auto& [name, norm] : recorded_json().at("grad_norm").items()) {
    const std::string own = canonical_name(name);
    CAPTURE(own);
    REQUIRE(gradients.contains(own));
    if (std::ranges::find(noise, own) != noise.end()) continue;
    const double expected = norm.is_null() ? 0 : norm.get<double>();
    const at::Tensor& gradient = gradients.at(own);
    const double found = gradient.defined() ? gradient.norm().item<double>() : 0;
    CHECK(std::abs(found - expected) <= 1e-4 * expected);
    ++compared;
  }
  CHECK(compared == recorded_json().at("grad_norm").size() - noise.size());
  CHECK(gradients.size() == recorded_json().at("trainable").size());
  for (const auto& [name, expected] : recorded_weights("t1_gradients.safetensors")) {
    CAPTURE(name);
    CHECK(relative_l2(gradients.at(name), expected) < 1e-4);
  }
}

TEST_CASE("five AdamW steps give the original's losses and weights") {
  for (const std::string run : {"constant", "clip_schedule"}) {
    CAPTURE(run);
    const Json& recorded = recorded_json().at("run_" + run);
    LoadedModel<RecordedSpec> loaded = recorded_model();
    const std::vector<TrainedParameter> parameters = set_trainable(loaded.model, lisa_recipe);
    std::map<std::string, at::Tensor> before;
    for (const TrainedParameter& parameter : parameters) before[parameter.name] = parameter.value.detach().clone();
    const TrainingBatch batch = training_batch(loaded);
    AdamW optimiser(parameters);
    const Schedule schedule =
        run == "constant" ? Schedule{.peak = 3e-4, .warmup = 0, .decay = Decay::constant}
                          : Schedule{.peak = 3e-4, .warmup = 2, .total = 6, .start = ScheduleStart::deepspeed_0_10};
    for (std::size_t step = 0; step <= 5; ++step) {
      CAPTURE(step);
      const TrainingOutput output = training_forward(loaded.model, batch);
      check_losses(output.losses, recorded.at("losses").at(step));
      if (step == 5) break;
      output.loss.backward();
      GradientSum gradients;
      gradients.take(parameters);
      const double expected_norm = recorded.at("grad_norm_before_clip").at(step).get<double>();
      const double norm = recorded.at("clip").is_null()
                              ? gradient_norm(gradients.tensors())
                              : clip_gradient_norm(gradients.tensors(), recorded.at("clip").get<double>());
      CHECK(norm == doctest::Approx(expected_norm).epsilon(1e-4));
      const double rate = learning_rate(schedule, static_cast<std::int64_t>(step));
      CHECK(rate == doctest::Approx(recorded.at("lr_per_step").at(step).get<double>()).epsilon(1e-12));
      optimiser.step(gradients.tensors(), rate);
    }
    std::map<std::string, at::Tensor> after;
    for (const TrainedParameter& parameter : parameters) after[parameter.name] = parameter.value.detach();
    for (const auto& [name, expected] : recorded_weights("t1_final_" + run + ".safetensors")) {
      CAPTURE(name);
      CHECK(relative_l2(after.at(name).sub(before.at(name)), expected.sub(before.at(name))) < 5e-3);
    }
  }
}
