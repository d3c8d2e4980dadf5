#include "lisa/model/save_model.hpp"

#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>

#include <string>
#include <vector>

#include "lisa/train/initialise.hpp"
#include "tests/model/golden_spec.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
using namespace lisa::test;

namespace {

/// The recorded model with adapters on queries and values.
struct AdaptedSpec : GoldenSpec {
  static constexpr LoraConfig lora{.rank = 4, .alpha = 8, .dropout = 0};
};

template <ModelSpec S>
Answer answer_of(const LoadedModel<S>& loaded, const GoldenCase& asked) {
  Predictor<S> predictor(loaded);
  predictor.set_image(asked.image);
  return predictor.ask(asked.question, {.max_new_tokens = 24});
}

SaveModelOptions golden_files(at::ScalarType dtype = at::kFloat) {
  return {.side_files_from = golden_checkpoint, .tower_side_files_from = golden_tower, .dtype = dtype};
}

}  // namespace

TEST_CASE("a saved model is a checkpoint that answers as before, its tower found without being named") {
  const TempDir folder;
  save_model<GoldenSpec>(folder.path(), golden_model().model, golden_files());
  const GoldenCase asked("a1");
  const Answer before = answer_of(golden_model(), asked);
  const Answer after = answer_of(load<GoldenSpec>(folder.path().string()), asked);
  CHECK(after.text == before.text);
  REQUIRE(after.masks.size() == before.masks.size());
  for (std::size_t i = 0; i < before.masks.size(); ++i) CHECK(after.masks[i].bits == before.masks[i].bits);
}

TEST_CASE("adapters are folded into what is saved, and stay in the model") {
  LoadedModel<AdaptedSpec> loaded = load<AdaptedSpec>(golden_checkpoint, golden_options());
  static_cast<void>(initialise_adapters(loaded.model, 1));
  loaded.model.llm.for_each_adapter([](const std::string& name, at::Tensor& value, const Shape& shape) {
    if (name.ends_with("lora_B.weight")) value = at::full(shape, 0.05, value.options());
  });
  const TempDir folder;
  save_model(folder.path(), loaded.model, golden_files());
  bool kept = false;
  loaded.model.llm.for_each_adapter(
      [&](const std::string&, at::Tensor& value, const Shape&) { kept = value.defined(); });
  CHECK(kept);
  const GoldenCase asked("a1");
  const Answer beside = answer_of(loaded, asked), folded = answer_of(load<GoldenSpec>(folder.path().string()), asked);
  const Answer without = answer_of(golden_model(), asked);
  CHECK(folded.text == beside.text);
  REQUIRE((folded.masks.size() == 1 && beside.masks.size() == 1 && without.masks.size() == 1));
  const auto difference = [&](const Answer& other) {
    return folded.masks[0].low_res_logits.sub(other.masks[0].low_res_logits).abs().max().item<double>();
  };
  CHECK(difference(beside) < 1e-3);
  CHECK(difference(without) > 100 * difference(beside));  // the adapters do something
}

TEST_CASE("quantised weights are saved as what they stand for, with adapters folded in") {
  LoadedModel<AdaptedSpec> loaded = load<AdaptedSpec>(golden_checkpoint, golden_options());
  loaded.model.llm.for_each_projection([](const std::string&, auto& projection) {
    projection.base.weight = quantised(projection.base.weight, WeightFormat::int8_row);
  });
  static_cast<void>(initialise_adapters(loaded.model, 1));
  loaded.model.llm.for_each_adapter([](const std::string& name, at::Tensor& value, const Shape& shape) {
    CHECK((value.scalar_type() == at::kFloat));
    if (name.ends_with("lora_B.weight")) value = at::full(shape, 0.05, value.options());
  });
  const TempDir folder;
  save_model(folder.path(), loaded.model, golden_files());
  auto& projection = loaded.model.llm.layers[0].self_attn.q_proj;
  CHECK(is_quantised(projection.base.weight));
  const at::Tensor update = at::matmul(projection.lora_B, projection.lora_A).mul(scaling(AdaptedSpec::lora));
  const LoadedModel<GoldenSpec> saved = load<GoldenSpec>(folder.path().string());
  CHECK(
      relative_l2(
          saved.model.llm.layers[0].self_attn.q_proj.base.weight,
          lisa::detail::restored_weight(projection.base.weight, projection.base.in_features, at::kFloat).add(update)) <
      1e-6);
}

TEST_CASE("weights are saved in the dtype asked for, which config.json names") {
  const TempDir folder;
  save_model<GoldenSpec>(folder.path(), golden_model().model, golden_files(at::kBFloat16));
  CHECK(read_json(folder / "config.json").at("torch_dtype") == "bfloat16");
  const LoadedModel<GoldenSpec> loaded = load<GoldenSpec>(folder.path().string());
  CHECK((loaded.model.llm.lm_head.weight.scalar_type() == at::kBFloat16));
}

TEST_CASE("a model that is not complete is not saved") {
  Lisa<GoldenSpec> model = golden_model().model;
  model.llm.lm_head.weight = at::Tensor();
  const TempDir folder;
  CHECK_THROWS_AS(save_model(folder.path(), model, golden_files()), InputError);
  CHECK(!std::filesystem::exists(folder / "model.safetensors"));
}
