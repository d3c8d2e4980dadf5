// Gradients of everything that trains, held against finite differences in fp64.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randint.h>

#include <cstdint>
#include <string>
#include <vector>

#include "lisa/model/lisa_model.hpp"
#include "lisa/nn/causal_attention.hpp"
#include "lisa/nn/masked_attention.hpp"
#include "lisa/sam/upsample.hpp"
#include "tests/support/gradient_check.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/train/mini_spec.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

using namespace lisa;
using test::gradient_error;
using test::MiniSpec;

namespace {

constexpr double tolerance = 1e-6;

at::Tensor numbers(const Shape& shape, std::uint64_t seed) { return test::random_tensor(shape, seed, at::kDouble); }

/// All parameters of a module, with random values, before `others`.
template <Module M>
std::vector<at::Tensor> variables_of(M& module, std::uint64_t seed, std::vector<at::Tensor> others) {
  test::fill_parameters(module, seed, at::kDouble);
  module.for_each_parameter("", [&](const std::string&, at::Tensor& value, const Shape&) { others.push_back(value); });
  return others;
}

}  // namespace

TEST_CASE("blocks of the language model") {
  const at::Tensor x = numbers({5, 12}, 1);
  SUBCASE("linear map") {
    Linear<12, 7> layer;
    CHECK(gradient_error([&] { return layer.forward(x); }, variables_of(layer, 2, {x})) < tolerance);
  }
  SUBCASE("adapter, with and without dropout") {
    LoraLinear<12, 7, LoraConfig{.rank = 3, .alpha = 6, .dropout = 0.3}, true> layer;
    auto variables = variables_of(layer, 2, {x});
    layer.lora_A = numbers({3, 12}, 3);
    layer.lora_B = numbers({7, 3}, 4);
    variables.insert(variables.end(), {layer.lora_A, layer.lora_B});
    CHECK(gradient_error([&] { return layer.forward(x); }, variables) < tolerance);
    const auto with_dropout = [&] {
      layer.dropout_generator = at::detail::createCPUGenerator(9);  // the same inputs are dropped each time
      return layer.forward(x);
    };
    CHECK(gradient_error(with_dropout, variables) < tolerance);
  }
  SUBCASE("norm") {
    RmsNorm<12> norm;
    CHECK(gradient_error([&] { return norm.forward(x); }, variables_of(norm, 2, {x})) < tolerance);
  }
  SUBCASE("rotary embedding") {
    const auto rotary = RotaryEmbedding<12>::make(20, 1e4, at::kDouble);
    CHECK(gradient_error([&] { return rotary.rotate(x.unsqueeze(0), 7); }, {x}) < tolerance);
  }
  SUBCASE("causal attention") {
    const at::Tensor q = numbers({4, 5, 6}, 2), k = numbers({2, 5, 6}, 3), v = numbers({2, 5, 6}, 4);
    CHECK(gradient_error([&] { return causal_attention(q, k, v); }, {q, k, v}) < tolerance);
  }
  SUBCASE("attention of branched rows") {
    const BranchedRows rows =
        branched_rows({{.trunk = 2, .branches = {1, 2}}, {.trunk = 4, .branches = {}}}, at::kDouble);
    for (const dim kv_heads : {4, 2}) {
      const at::Tensor q = numbers({2, 4, 5, 6}, 2), k = numbers({2, kv_heads, 5, 6}, 3),
                       values = numbers({2, kv_heads, 5, 6}, 4);
      CHECK(gradient_error([&] { return masked_attention(q, k, values, rows.bias); }, {q, k, values}) < tolerance);
    }
  }
  SUBCASE("all together") {
    Llama<MiniSpec::llm, MiniSpec::lora> llm;
    auto variables = variables_of(llm, 2, {});
    llm.for_each_adapter([&](const std::string&, at::Tensor& value, const Shape& shape) {
      value = numbers(shape, 50 + variables.size());
      variables.push_back(value);
    });
    llm.prepare();
    const BranchedRows rows =
        branched_rows({{.trunk = 3, .branches = {1, 2}}, {.trunk = 4, .branches = {}}}, at::kDouble);
    const at::Tensor ids = at::randint(30, {rows.items * rows.length}, at::kLong);
    const auto states = [&] {
      const auto run = [](auto&& block, const at::Tensor& hidden) { return block(hidden); };
      return llm.logits(llm.forward(llm.embed(ids), rows, run)).view({2, 6, 30}).narrow(1, 0, 4);
    };
    CHECK(gradient_error(states, variables, 6) < tolerance);
  }
}

TEST_CASE("blocks that see") {
  SUBCASE("vision tower and visual projector") {
    Lisa<MiniSpec>::VisionTower tower;
    Lisa<MiniSpec>::VisualProjector projector;
    const at::Tensor pixels = numbers({2, 3, 8, 8}, 1);
    const auto variables = variables_of(projector, 3, variables_of(tower, 2, {pixels}));
    CHECK(gradient_error([&] { return projector.forward(tower.forward(pixels)); }, variables, 8) < tolerance);
  }
  SUBCASE("image encoder, with clipped windows and relative positions") {
    Lisa<MiniSpec>::ImageEncoder encoder;
    const at::Tensor image = numbers({2, 3, 20, 20}, 1);
    CHECK(gradient_error([&] { return encoder.forward(image); }, variables_of(encoder, 2, {image}), 8) < tolerance);
  }
  SUBCASE("relative attention in parts") {
    const at::Tensor q = numbers({3, 4, 4, 6}, 1), k = numbers({3, 16, 6}, 2), v = numbers({3, 16, 6}, 3);
    const at::Tensor rel_h = numbers({4, 4, 6}, 4), rel_w = numbers({4, 4, 6}, 5);
    const auto attended = [&] { return relative_attention(q, k, v, rel_h, rel_w, /*score_elements=*/64); };
    CHECK(gradient_error(attended, {q, k, v, rel_h, rel_w}) < tolerance);
  }
}

TEST_CASE("blocks that segment") {
  SUBCASE("[SEG] projector") {
    Lisa<MiniSpec>::SegProjector projector;
    const at::Tensor hidden = numbers({3, 12}, 1);
    CHECK(gradient_error([&] { return projector.forward(hidden); }, variables_of(projector, 2, {hidden})) < tolerance);
  }
  SUBCASE("mask decoder and upsampling") {
    Lisa<MiniSpec>::MaskDecoder head;
    const at::Tensor embedding = numbers({3, 8, 5, 5}, 1), prompts = numbers({3, 8}, 2);
    std::vector<at::Tensor> variables{embedding, prompts};
    test::fill_parameters(head, 3, at::kDouble);
    head.prepare(PositionalPrecision::weights);
    head.mask_decoder.for_each_parameter(
        "", [&](const std::string&, at::Tensor& value, const Shape&) { variables.push_back(value); });
    const auto logits = [&] {
      return mask_logits(head.forward(embedding, prompts).low_res_masks, 20, {20, 13}, {11, 7});
    };
    CHECK(gradient_error(logits, variables, 6) < tolerance);
    CHECK(gradient_error([&] { return head.forward(embedding.narrow(0, 0, 1), prompts).low_res_masks; },
                         {embedding, prompts}, 12) < tolerance);
  }
}
