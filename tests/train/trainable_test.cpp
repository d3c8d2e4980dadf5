#include "lisa/train/trainable.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lisa/train/initialise.hpp"
#include "tests/support/tensor_compare.hpp"
#include "tests/train/mini_spec.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

using namespace lisa;
using test::MiniSpec;

namespace {

std::map<std::string, at::Tensor> weights_of(Lisa<MiniSpec>& model) {
  std::map<std::string, at::Tensor> weights;
  model.for_each_part([&](Part, auto& module, const std::string& prefix) {
    visit_parameters(module, prefix,
                     [&](const std::string& name, const at::Tensor& value, const Shape&) { weights[name] = value; });
  });
  return weights;
}

Lisa<MiniSpec> fresh_model(std::uint64_t seed = 1) {
  Lisa<MiniSpec> model;
  (void)initialise_missing(model, seed);
  (void)initialise_adapters(model, seed);
  return model;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("LISA's recipe trains adapters, head, embedding, [SEG] projector and mask decoder") {
  Lisa<MiniSpec> model = fresh_model();
  const std::vector<TrainedParameter> parameters = set_trainable(model, lisa_recipe);
  std::set<std::string> names;
  std::int64_t adapters = 0;
  for (const TrainedParameter& parameter : parameters) {
    CHECK(names.insert(parameter.name).second);
    CHECK(parameter.value.requires_grad());
    if (contains(parameter.name, ".lora_"))
      adapters += parameter.value.numel();
    else
      CHECK((parameter.name == "lm_head.weight" || parameter.name == "model.embed_tokens.weight" ||
             parameter.name.starts_with("model.text_hidden_fcs.0.") ||
             parameter.name.starts_with("model.visual_model.mask_decoder.")));
  }
  CHECK(adapters == lisa::parameters(MiniSpec::llm, MiniSpec::lora));
  CHECK(element_count(parameters) == adapters + 2 * MiniSpec::llm.vocab * MiniSpec::llm.hidden +
                                         lisa::parameters(12, 8, MiniSpec::seg) +
                                         mask_decoder_parameters(MiniSpec::sam));
  for (const auto& [name, value] : weights_of(model)) {
    CAPTURE(name);
    CHECK(value.requires_grad() == names.contains(name));
  }
}

TEST_CASE("everything trains all weights but those of the prompt encoder, and no adapter") {
  Lisa<MiniSpec> model = fresh_model();
  std::set<std::string> names;
  for (const TrainedParameter& parameter : set_trainable(model, everything)) names.insert(parameter.name);
  for (const auto& [name, value] : weights_of(model)) {
    CAPTURE(name);
    CHECK(names.contains(name) == !contains(name, "prompt_encoder"));
    CHECK(value.requires_grad() == names.contains(name));
  }
  CHECK(std::ranges::none_of(names, [](const std::string& name) { return contains(name, "lora_"); }));
}

TEST_CASE("a later choice replaces the one before; handles are the model's own tensors") {
  Lisa<MiniSpec> model = fresh_model();
  (void)set_trainable(model, everything);
  const std::vector<TrainedParameter> parameters = set_trainable(model, {.seg_projector = true});
  CHECK(parameters.size() == 4);
  for (const auto& [name, value] : weights_of(model))
    CHECK(value.requires_grad() == name.starts_with("model.text_hidden_fcs."));
  CHECK(parameters.front().value.is_same(model.seg_projector.mlp.first.weight));
}

TEST_CASE("what trains has memory of its own, what does not keeps its memory and dtype") {
  Lisa<MiniSpec> model = fresh_model();
  model.llm.norm.weight = model.llm.norm.weight.to(at::kBFloat16);
  const at::Tensor mapped = model.llm.lm_head.weight, frozen = model.llm.norm.weight;
  (void)set_trainable(model, lisa_recipe);
  CHECK(model.llm.lm_head.weight.const_data_ptr() != mapped.const_data_ptr());
  CHECK(model.llm.lm_head.weight.equal(mapped));
  CHECK(model.llm.norm.weight.is_same(frozen));
}

TEST_CASE("tensors that are not there cannot train") {
  Lisa<MiniSpec> model;
  (void)initialise_missing(model, 1);
  const auto message = [&](const TrainableParts& parts) {
    try {
      (void)set_trainable(model, parts);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(contains(message(lisa_recipe), "model.layers.0.self_attn.q_proj.lora_A.weight: no values"));
  CHECK(message({}) == "trainable parts: found none in mini, expected at least one");
}

TEST_CASE("first values go where there are none, and say so") {
  Lisa<MiniSpec> model;
  const at::Tensor loaded = at::ones({12, 12});
  model.seg_projector.mlp.first.weight = loaded;
  const std::vector<std::string> names = initialise_missing(model, 1);
  CHECK(model.seg_projector.mlp.first.weight.is_same(loaded));
  CHECK(std::ranges::find(names, "model.text_hidden_fcs.0.0.weight") == names.end());
  const auto weights = weights_of(model);
  CHECK(names.size() == weights.size() - 1);
  for (const auto& [name, value] : weights) {
    CAPTURE(name);
    CHECK(value.isfinite().all().item<bool>());
  }
  CHECK(initialise_missing(model, 2).empty());
  CHECK(model.llm.rotary.cosine.defined());
  CHECK(model.mask_decoder.dense_pe.defined());
}

TEST_CASE("first values depend on the seed and the name alone") {
  Lisa<MiniSpec> a = fresh_model(1), b = fresh_model(1), c = fresh_model(2);
  CHECK(a.llm.embed_tokens.equal(b.llm.embed_tokens));
  CHECK_FALSE(a.llm.embed_tokens.equal(c.llm.embed_tokens));
  CHECK_FALSE(a.llm.layers[0].mlp.gate_proj.base.weight.equal(a.llm.layers[1].mlp.gate_proj.base.weight));
  CHECK(a.llm.layers[0].mlp.gate_proj.lora_A.equal(b.llm.layers[0].mlp.gate_proj.lora_A));
}

TEST_CASE("first values have the distribution of their layer") {
  const auto values = [](const char* name, const Shape& shape) {
    return initial_values(initial_distribution(name, shape), shape, 3, name, at::kFloat);
  };
  CHECK(values("model.norm.weight", {5}).equal(at::ones({5})));
  CHECK(values("mlp.fc1.bias", {5}).equal(at::zeros({5})));
  CHECK(values("blocks.0.attn.rel_pos_h", {5, 4}).equal(at::zeros({5, 4})));
  const at::Tensor linear = values("q_proj.weight", {80, 100});
  CHECK(linear.abs().max().item<double>() <= 0.1);
  CHECK(linear.std().item<double>() == doctest::Approx(0.1 / std::sqrt(3.0)).epsilon(0.05));
  const at::Tensor convolution = values("patch_embed.proj.weight", {50, 3, 4, 4});
  CHECK(convolution.abs().max().item<double>() == doctest::Approx(1 / std::sqrt(48.0)).epsilon(0.02));
  const at::Tensor matrix = values("pe_layer.positional_encoding_gaussian_matrix", {2, 500});
  CHECK(matrix.std().item<double>() == doctest::Approx(1).epsilon(0.1));
  const at::Tensor embedding = values("model.embed_tokens.weight", {80, 100});
  CHECK(embedding.std().item<double>() == doctest::Approx(0.1).epsilon(0.05));
  CHECK(std::abs(embedding.mean().item<double>()) < 0.005);
}

TEST_CASE("fresh adapters change nothing and take the dtype beside them") {
  Lisa<MiniSpec> model;
  (void)initialise_missing(model, 1, at::kBFloat16);
  const std::vector<std::string> names = initialise_adapters(model, 1);
  CHECK(names.size() == 2 * 7 * 2);
  model.llm.for_each_adapter([&](const std::string& name, const at::Tensor& value, const Shape&) {
    CAPTURE(name);
    CHECK((value.scalar_type() == at::kBFloat16));
    CHECK(value.any().item<bool>() == contains(name, "lora_A"));
  });
  CHECK(initialise_adapters(model, 2).empty());
}
