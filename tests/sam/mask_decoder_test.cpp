#include "lisa/sam/mask_decoder.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <string>

#include "lisa/sam/upsample.hpp"
#include "tests/support/golden.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// last: torch's logging macros of the same names must not win
#undef CHECK
#undef CHECK_EQ
#undef CHECK_NE
#undef CHECK_LT
#undef CHECK_LE
#undef CHECK_GT
#undef CHECK_GE
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

constexpr SamConfig small{.image = 20,
                          .patch = 4,
                          .prompt_dim = 16,
                          .decoder_heads = 2,
                          .decoder_mlp = 24,
                          .multimask_outputs = 2,
                          .iou_head_layers = 2,
                          .iou_head_hidden = 12};

struct Inputs {
  at::Tensor image, positions;
  PromptEmbeddings prompts;
};

Inputs random_inputs(dim images, dim n, dim tokens, at::ScalarType dtype) {
  return {random_tensor({images, 16, 5, 5}, 41, dtype),
          random_tensor({16, 5, 5}, 42, dtype),
          {random_tensor({n, tokens, 16}, 43, dtype), random_tensor({1, 16, 1, 1}, 44, dtype)}};
}

SamMaskDecoder<small> random_decoder(at::ScalarType dtype) {
  SamMaskDecoder<small> decoder;
  fill_parameters(decoder, 45, dtype);
  return decoder;
}

/// Attention with every batch written out.
template <class Attention>
at::Tensor attend(const Attention& attention, dim heads, const at::Tensor& q, const at::Tensor& k,
                  const at::Tensor& v) {
  const at::Tensor queries = attention.q_proj.forward(q), keys = attention.k_proj.forward(k),
                   values = attention.v_proj.forward(v);
  const dim d = queries.size(2) / heads;
  std::vector<at::Tensor> parts;
  for (dim h = 0; h < heads; ++h) {
    const auto part = [&](const at::Tensor& t) { return t.narrow(2, h * d, d); };
    const at::Tensor scores = at::matmul(part(queries), part(keys).transpose(1, 2)).div(std::sqrt(double(d)));
    parts.push_back(at::matmul(scores.softmax(-1), part(values)));
  }
  return attention.out_proj.forward(at::cat(parts, 2));
}

/// SAM's decoder step by step: everything repeated per prompt, all mask tokens, transposed convolutions.
MaskPrediction decode_by_repetition(const SamMaskDecoder<small>& decoder, const Inputs& x) {
  const dim n = x.prompts.sparse.size(0);
  const at::Tensor outputs = at::cat({decoder.iou_token, decoder.mask_tokens}).unsqueeze(0).repeat({n, 1, 1});
  const at::Tensor tokens = at::cat({outputs, x.prompts.sparse}, 1);
  const at::Tensor image = x.image.size(0) == n ? x.image : x.image.repeat({n, 1, 1, 1});
  at::Tensor keys = image.add(x.prompts.dense).flatten(2).transpose(1, 2).contiguous();
  const at::Tensor pe = x.positions.unsqueeze(0).repeat({n, 1, 1, 1}).flatten(2).transpose(1, 2).contiguous();
  at::Tensor queries = tokens;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& layer = decoder.transformer.layers[i];
    const at::Tensor placed = queries.add(tokens);
    queries = i == 0 ? attend(layer.self_attn, 2, queries, queries, queries)
                     : queries.add(attend(layer.self_attn, 2, placed, placed, queries));
    queries = layer.norm1.forward(queries);
    queries = layer.norm2.forward(
        queries.add(attend(layer.cross_attn_token_to_image, 2, queries.add(tokens), keys.add(pe), keys)));
    queries = layer.norm3.forward(queries.add(layer.lin2.forward(layer.lin1.forward(queries).clamp_min(0))));
    keys = layer.norm4.forward(
        keys.add(attend(layer.cross_attn_image_to_token, 2, keys.add(pe), queries.add(tokens), queries)));
  }
  queries = decoder.transformer.norm_final_attn.forward(
      queries.add(attend(decoder.transformer.final_attn_token_to_image, 2, queries.add(tokens), keys.add(pe), keys)));
  at::Tensor map = keys.transpose(1, 2).reshape({n, 16, 5, 5});
  map = at::conv_transpose2d(map, decoder.upscale1_weight, decoder.upscale1_bias, 2);
  map = at::gelu(decoder.upscale_norm.forward(map.permute({0, 2, 3, 1})).permute({0, 3, 1, 2}));
  map = at::gelu(at::conv_transpose2d(map, decoder.upscale2_weight, decoder.upscale2_bias, 2));
  std::vector<at::Tensor> weights;
  for (dim i = 0; i < 3; ++i) {
    weights.push_back(decoder.hypernetworks[static_cast<std::size_t>(i)].forward(queries.select(1, 1 + i)));
  }
  return {at::matmul(at::stack(weights, 1), map.flatten(2)).view({n, 3, 20, 20}),
          decoder.iou_head.forward(queries.select(1, 0))};
}

TEST_CASE("shared image, folded batches and grouped pixels equal the decoder written out") {
  const auto decoder = random_decoder(at::kDouble);
  for (const dim n : {1, 3}) {
    for (const dim images : {dim{1}, n}) {
      for (const dim tokens : {1, 2}) {
        CAPTURE(n);
        CAPTURE(images);
        CAPTURE(tokens);
        const Inputs x = random_inputs(images, n, tokens, at::kDouble);
        const MaskPrediction expected = decode_by_repetition(decoder, x);
        const MaskPrediction all = decoder.forward(x.image, x.positions, x.prompts, MaskTokens::all);
        CHECK(relative_l2(all.low_res_masks, expected.low_res_masks) < 1e-12);
        CHECK(relative_l2(all.iou_predictions, expected.iou_predictions) < 1e-12);
        const MaskPrediction single = decoder.forward(x.image, x.positions, x.prompts);
        CHECK(shape_of(single.low_res_masks) == Shape{n, 1, 20, 20});
        CHECK(relative_l2(single.low_res_masks, expected.low_res_masks.narrow(1, 0, 1)) < 1e-12);
        CHECK(relative_l2(single.iou_predictions, expected.iou_predictions.narrow(1, 0, 1)) < 1e-12);
        const MaskPrediction multi = decoder.forward(x.image, x.positions, x.prompts, MaskTokens::multi);
        CHECK(relative_l2(multi.low_res_masks, expected.low_res_masks.narrow(1, 1, 2)) < 1e-12);
        CHECK(relative_l2(multi.iou_predictions, expected.iou_predictions.narrow(1, 1, 2)) < 1e-12);
      }
    }
  }
}

TEST_CASE("several prompts give the masks of each alone") {
  SamMaskDecoder<golden_sam> decoder;
  SamPromptEncoder<golden_sam> prompts;
  const auto weights = golden_tensors("model_a");
  assign_parameters(decoder, "model.visual_model.mask_decoder", weights);
  assign_parameters(prompts, "model.visual_model.prompt_encoder", weights);
  const at::Tensor vectors = random_tensor({5, 1, 32}, 46), image = random_tensor({1, 32, 16, 16}, 47);
  const MaskPrediction together = decoder.forward(image, prompts.dense_pe(), prompts.forward(vectors));
  for (dim i = 0; i < 5; ++i) {
    const MaskPrediction alone = decoder.forward(image, prompts.dense_pe(), prompts.forward(vectors.narrow(0, i, 1)));
    CHECK(relative_l2(together.low_res_masks.narrow(0, i, 1), alone.low_res_masks) < 1e-5);
    CHECK(relative_l2(together.iou_predictions.narrow(0, i, 1), alone.iou_predictions) < 1e-5);
  }
}

TEST_CASE("the decoder gives the original's masks") {
  const auto weights = golden_tensors("model_a");
  SamMaskDecoder<golden_sam> decoder;
  SamPromptEncoder<golden_sam> encoder;
  assign_parameters(decoder, "model.visual_model.mask_decoder", weights);
  assign_parameters(encoder, "model.visual_model.prompt_encoder", weights);
  for (const std::string name : {"a1", "a2"}) {
    CAPTURE(name);
    const auto golden = golden_tensors(name + "/" + name + ".safetensors");
    const MaskPrediction found = decoder.forward(golden.at("image_embedding").view({1, 32, 16, 16}), encoder.dense_pe(),
                                                 encoder.forward(golden.at("seg_vectors").unsqueeze(1)));
    CHECK(relative_l2(found.low_res_masks.flatten(), golden.at("low_res_masks").flatten()) < 1e-5);
    CHECK(relative_l2(found.iou_predictions.flatten(), golden.at("iou_predictions").flatten()) < 1e-5);
    const at::Tensor expected = golden.at("mask_logits"), resized = golden.at("sam_resized_u8");
    const at::Tensor logits = mask_logits(found.low_res_masks, 256, {resized.size(0), resized.size(1)},
                                          {expected.size(-2), expected.size(-1)})
                                  .view(expected.sizes());
    CHECK(relative_l2(logits, expected) < 1e-5);
    const at::Tensor flipped = logits.gt(0).ne(expected.gt(0));
    CHECK(flipped.logical_and(expected.abs().ge(1e-3)).sum().item<dim>() == 0);
  }
}

TEST_CASE("gradients reach every parameter of the mask and the prompt, and equal finite differences") {
  auto decoder = random_decoder(at::kDouble);
  Inputs x = random_inputs(1, 2, 1, at::kDouble);
  std::vector<std::pair<std::string, at::Tensor>> leaves{{"prompt", x.prompts.sparse.set_requires_grad(true)}};
  decoder.for_each_parameter("", [&](const std::string& name, at::Tensor& value, const Shape&) {
    leaves.emplace_back(name, value.set_requires_grad(true));
  });
  const at::Tensor direction = random_tensor({2, 1, 20, 20}, 48, at::kDouble);
  const auto loss = [&] { return decoder.forward(x.image, x.positions, x.prompts).low_res_masks.mul(direction).sum(); };
  torch::autograd::backward({loss()}, {});
  std::uint64_t seed = 100;
  for (auto& [name, leaf] : leaves) {
    CAPTURE(name);
    const bool reached = name != "iou_token.weight" && !name.starts_with("iou_prediction_head") &&
                         !name.starts_with("output_hypernetworks_mlps.1") &&
                         !name.starts_with("output_hypernetworks_mlps.2");
    if (!reached && name != "iou_token.weight") {
      CHECK_FALSE(leaf.grad().defined());
      continue;
    }
    REQUIRE(leaf.grad().defined());
    const at::NoGradGuard no_gradient;
    const at::Tensor step = random_tensor(shape_of(leaf), seed++, at::kDouble).mul(1e-5);
    const double slope = leaf.grad().mul(step).sum().item<double>();
    leaf.add_(step);
    const double above = loss().item<double>();
    leaf.sub_(step, 2);
    const double below = loss().item<double>();
    leaf.add_(step);
    CHECK(std::abs((above - below) / 2 - slope) < 1e-6 * std::abs(slope) + 1e-9);
  }
}

TEST_CASE("the decoder holds every tensor of SAM's") {
  SamMaskDecoder<golden_sam> decoder;
  const std::string prefix = "model.visual_model.mask_decoder";
  std::size_t held = 0, stored = 0;
  dim elements = 0;
  decoder.for_each_parameter(prefix, [&](const std::string&, at::Tensor&, const Shape& shape) {
    ++held;
    dim product = 1;
    for (const dim extent : shape) product *= extent;
    elements += product;
  });
  for (const auto& [name, tensor] : golden_tensors("model_a")) stored += name.starts_with(prefix + ".") ? 1 : 0;
  CHECK(held == stored);
  CHECK(elements == mask_decoder_parameters(golden_sam));
}

TEST_CASE("tensors that do not fit are refused by name") {
  const auto decoder = random_decoder(at::kFloat);
  Inputs x = random_inputs(2, 3, 1, at::kFloat);
  CHECK_THROWS_WITH_AS((void)decoder.forward(x.image, x.positions, x.prompts),
                       "image embedding: found shape [2, 16, 5, 5], expected [3, 16, 5, 5]", InputError);
  x = random_inputs(1, 3, 1, at::kFloat);
  CHECK_THROWS_AS((void)decoder.forward(x.image, x.positions.narrow(1, 0, 4), x.prompts), InputError);
  CHECK_THROWS_AS((void)decoder.forward({}, x.positions, x.prompts), InputError);
}

}  // namespace
