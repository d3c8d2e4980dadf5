#include "lisa/sam/image_encoder.hpp"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <string>

#include "tests/support/golden.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

constexpr SamConfig sized(dim grid_side, dim window) {
  return {.image = 4 * grid_side,
          .patch = 4,
          .hidden = 12,
          .mlp = 20,
          .layers = 3,
          .heads = 2,
          .window = window,
          .global_blocks = {1},
          .prompt_dim = 8};
}

/// The original's algorithm without any shortcut: tokens are padded with zeros to whole windows after the norm, padding
/// is projected and attends like any token, and is dropped in the end.
template <SamConfig C>
at::Tensor block_by_padding(const SamImageBlock<C>& block, const at::Tensor& x, dim side) {
  constexpr dim heads = C.heads, d = head_dim(C);
  const dim batch = x.size(0), g = x.size(1), n = (g + side - 1) / side, padded = n * side;
  at::Tensor tokens = at::zeros({batch, padded, padded, C.hidden}, x.options());
  tokens.narrow(1, 0, g).narrow(2, 0, g).copy_(block.norm1.forward(x));
  const at::Tensor windows =
      tokens.view({batch, n, side, n, side, C.hidden}).permute({0, 1, 3, 2, 4, 5}).reshape({-1, side * side, C.hidden});
  const at::Tensor qkv = block.attn.qkv.forward(windows).view({-1, side * side, 3, heads, d}).permute({2, 0, 3, 1, 4});
  const at::Tensor q = qkv[0], k = qkv[1], v = qkv[2];  // [windows, heads, side * side, d]
  at::Tensor scores = at::matmul(q.mul(1.0 / std::sqrt(static_cast<double>(d))), k.transpose(-2, -1)).clone();
  for (dim a = 0; a < side * side; ++a) {
    for (dim b = 0; b < side * side; ++b) {
      const at::Tensor rows = block.attn.rel_pos_h[a / side - b / side + side - 1];
      const at::Tensor columns = block.attn.rel_pos_w[a % side - b % side + side - 1];
      scores.select(2, a).select(2, b).add_(at::matmul(q.select(2, a), rows)).add_(at::matmul(q.select(2, a), columns));
    }
  }
  const at::Tensor attended = at::matmul(at::softmax(scores, -1), v).transpose(1, 2).reshape({-1, C.hidden});
  const at::Tensor merged = block.attn.proj.forward(attended)
                                .view({batch, n, n, side, side, C.hidden})
                                .permute({0, 1, 3, 2, 4, 5})
                                .reshape({batch, padded, padded, C.hidden});
  const at::Tensor y = x.add(merged.narrow(1, 0, g).narrow(2, 0, g));
  return y.add(block.lin2.forward(at::gelu(block.lin1.forward(block.norm2.forward(y)))));
}

/// SAM's LayerNorm2d, over dimension 1.
at::Tensor norm_channels(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor centred = x.sub(x.mean(1, true));
  const at::Tensor normed = centred.div(centred.pow(2).mean(1, true).add(1e-6).sqrt());
  return normed.mul(weight.view({-1, 1, 1})).add(bias.view({-1, 1, 1}));
}

template <SamConfig C>
at::Tensor encode_by_padding(const SamImageEncoder<C>& encoder, const at::Tensor& images) {
  at::Tensor x = at::conv2d(images, encoder.patch_weight, encoder.patch_bias, {C.patch, C.patch}).permute({0, 2, 3, 1});
  x = x.add(encoder.pos_embed).contiguous();
  for (dim i = 0; i < C.layers; ++i) {
    x = block_by_padding(encoder.blocks[static_cast<std::size_t>(i)], x, attention_side(C, i));
  }
  const auto& neck = encoder.neck;
  x = norm_channels(at::conv2d(x.permute({0, 3, 1, 2}), neck.reduce), neck.norm1.weight, neck.norm1.bias);
  return norm_channels(at::conv2d(x, neck.mix, {}, 1, 1), neck.norm2.weight, neck.norm2.bias);
}

template <SamConfig C>
SamImageEncoder<C> random_encoder(at::ScalarType dtype) {
  SamImageEncoder<C> encoder;
  fill_parameters(encoder, 21, dtype);
  return encoder;
}

template <SamConfig C>
void check_against_padding() {
  CAPTURE(grid(C));
  CAPTURE(C.window);
  const c10::InferenceMode inference;
  for (const dim batch : {1, 3}) {
    const at::Tensor images = random_tensor({batch, 3, C.image, C.image}, 22, at::kDouble);
    const auto encoder = random_encoder<C>(at::kDouble);
    const at::Tensor expected = encode_by_padding(encoder, images);
    const at::Tensor found = encoder.forward(images);
    CHECK(shape_of(found) == Shape{batch, C.prompt_dim, grid(C), grid(C)});
    CHECK(relative_l2(found, expected) < 1e-12);
    const at::Tensor narrow = random_encoder<C>(at::kBFloat16).forward(images.to(at::kBFloat16));
    CHECK(relative_l2(narrow, expected) < 5e-2);
  }
}

TEST_CASE("windows without padding copies equal the original's padded windows") {
  check_against_padding<sized(8, 4)>();   // whole windows only
  check_against_padding<sized(9, 4)>();   // a remainder of one token
  check_against_padding<sized(7, 4)>();   // a remainder of all but one
  check_against_padding<sized(3, 7)>();   // a grid smaller than the window
  check_against_padding<sized(5, 0)>();   // no windows: every block is global
  check_against_padding<sized(1, 14)>();  // a single token
}

TEST_CASE("the encoder gives the original's image embedding") {
  const c10::InferenceMode inference;
  const auto golden = golden_tensors("a1/a1.safetensors");
  const at::Tensor image = golden.at("sam_image").view({1, 3, 256, 256});
  const at::Tensor expected = golden.at("image_embedding").view({1, 32, 16, 16});
  SamImageEncoder<golden_sam> encoder;
  assign_parameters(encoder, "model.visual_model.image_encoder", golden_tensors("model_a"));
  CHECK(relative_l2(encoder.forward(image), expected) < 1e-5);
  assign_parameters(encoder, "model.visual_model.image_encoder", golden_tensors("model_a"), at::kBFloat16);
  CHECK(relative_l2(encoder.forward(image.to(at::kBFloat16)), expected) < 2e-2);
}

TEST_CASE("in fp16 the neck computes in fp32, where its convolutions do not overflow") {
  const c10::InferenceMode inference;
  constexpr SamConfig config = sized(4, 2);
  SamImageEncoder<config> encoder = random_encoder<config>(at::kFloat);
  encoder.neck.norm1.weight.fill_(
      3e4);  // sums of 72 such values pass fp16's 65504, then the last norm scales them down
  SamImageEncoder<config> half = encoder;
  half.for_each_parameter("", [](const std::string&, at::Tensor& t, const Shape&) { t = t.to(at::kHalf); });
  const at::Tensor images = random_tensor({1, 3, config.image, config.image}, 23);
  const at::Tensor found = half.forward(images.to(at::kHalf));
  CHECK(bool(found.scalar_type() == at::kHalf));
  CHECK(found.isfinite().all().item<bool>());
  CHECK(relative_l2(found, encoder.forward(images)) < 1e-2);
}

TEST_CASE("the encoder asks for SAM's parameters") {
  const auto count = []<SamConfig C>() {
    dim total = 0;
    SamImageEncoder<C> encoder;
    encoder.for_each_parameter("", [&](const std::string&, at::Tensor&, const Shape& shape) {
      dim elements = 1;
      for (const dim extent : shape) elements *= extent;
      total += elements;
    });
    return total == image_encoder_parameters(C);
  };
  CHECK(count.operator()<sam_vit_b>());
  CHECK(count.operator()<sam_vit_h>());
  CHECK(count.operator()<sized(9, 4)>());
}

TEST_CASE("a picture of another size is refused by name, found and expected shape") {
  const auto encoder = random_encoder<sized(4, 2)>(at::kFloat);
  CHECK_THROWS_WITH_AS((void)encoder.forward(at::zeros({1, 3, 16, 12})),
                       "images: found shape [1, 3, 16, 12], expected [-1, 3, 16, 16]", InputError);
  CHECK_THROWS_WITH_AS((void)encoder.forward({}), "images: found no tensor, expected [-1, 3, 16, 16]", InputError);
}

}  // namespace
