#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <numbers>
#include <string>

#include "lisa/aten/operators.hpp"
#include "lisa/config/sam.hpp"
#include "lisa/nn/expect_shape.hpp"
#include "lisa/nn/layer_norm_2d.hpp"
#include "lisa/nn/parameter.hpp"

namespace lisa {

/// Arithmetic of the dense positional encoding.
enum class PositionalPrecision {
  /// In the dtype of the weights, as LISA computes it. In bf16 the argument 2 pi (x G) is rounded to 8 significant
  /// bits before sine and cosine; checkpoints run in bf16 were used with exactly this encoding.
  weights,
  fp32,  ///< in fp32, as the SAM of Meta; the result is then rounded to the dtype of the weights
};

/// Random Fourier features of pixel positions (Tancik et al. 2020), SAM's position_encoding_random.
/// @param gaussian [2, D / 2], the checkpoint's matrix
/// @return [D, height, width] in gaussian's dtype: sines, then cosines, of the grid cells' centres
[[nodiscard]] inline at::Tensor dense_positional_encoding(const at::Tensor& gaussian, dim height, dim width,
                                                          PositionalPrecision precision) {
  const at::Tensor matrix = precision == PositionalPrecision::fp32 ? gaussian.to(at::kFloat) : gaussian;
  const auto centres = [&](dim count) {  // in [-1, 1], rounded step by step in the matrix's dtype
    return aten::arange(1, count + 1, matrix.options()).sub(0.5).div(count).mul(2).sub(1);
  };
  const at::Tensor x = centres(width).expand({height, width});
  const at::Tensor y = centres(height).unsqueeze(1).expand({height, width});
  const at::Tensor argument = aten::stack({x, y}, -1).matmul(matrix).mul(2 * std::numbers::pi);  // [h, w, D / 2]
  return aten::cat({argument.sin(), argument.cos()}, -1).permute({2, 0, 1}).to(gaussian.scalar_type());
}

/// What the mask decoder takes as prompt.
struct PromptEmbeddings {
  at::Tensor sparse;  ///< [N, T, prompt_dim], T prompt tokens of each of N masks
  at::Tensor dense;   ///< [1, prompt_dim, 1, 1], added to the image embedding at every position
};

/// SAM's prompt encoder as LISA uses it: the projected [SEG] vectors are the only sparse tokens, without SAM's padding
/// point, and no mask prompt is given (LISA:model/segment_anything/modeling/prompt_encoder.py). It holds every tensor
/// of the checkpoint, those of point, box and mask prompts too, so that a saved model is complete.
template <SamConfig C>
struct SamPromptEncoder {
  static_assert(C.prompt_dim > 0 && C.prompt_dim % 2 == 0, "SamPromptEncoder: prompt_dim must be even");
  static_assert(C.mask_in_channels > 0 && C.mask_in_channels % 4 == 0,
                "SamPromptEncoder: mask_in_channels must be a multiple of 4");
  static constexpr dim prompt_dim = C.prompt_dim;

  at::Tensor positional_gaussian;             // [2, prompt_dim / 2]
  std::array<at::Tensor, 4> point_embedding;  // [1, prompt_dim] each: background, foreground, box corners
  at::Tensor not_a_point;                     // [1, prompt_dim]
  at::Tensor no_mask;                         // [1, prompt_dim]
  at::Tensor mask_conv0_weight, mask_conv0_bias;
  LayerNorm2d<C.mask_in_channels / 4> mask_norm0;
  at::Tensor mask_conv1_weight, mask_conv1_bias;
  LayerNorm2d<C.mask_in_channels> mask_norm1;
  at::Tensor mask_conv2_weight, mask_conv2_bias;

  /// @param text_embeddings [N, T, prompt_dim]: T prompt vectors of each mask, one in LISA
  /// @throws InputError on another shape
  [[nodiscard]] PromptEmbeddings forward(const at::Tensor& text_embeddings) const {
    expect_shape("text_embeddings", text_embeddings, {any_extent, any_extent, C.prompt_dim});
    return {text_embeddings, no_mask.view({1, C.prompt_dim, 1, 1})};
  }

  /// Positional encoding of the image embedding's grid, [prompt_dim, g, g].
  [[nodiscard]] at::Tensor dense_pe(PositionalPrecision precision = PositionalPrecision::weights) const {
    return dense_positional_encoding(positional_gaussian, grid(C), grid(C), precision);
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    constexpr dim d = C.prompt_dim, m = C.mask_in_channels, q = C.mask_in_channels / 4;
    visit(scoped(prefix, "pe_layer.positional_encoding_gaussian_matrix"), positional_gaussian, Shape{2, d / 2});
    for (std::size_t i = 0; i < point_embedding.size(); ++i) {
      visit(scoped(prefix, "point_embeddings." + std::to_string(i) + ".weight"), point_embedding[i], Shape{1, d});
    }
    visit(scoped(prefix, "not_a_point_embed.weight"), not_a_point, Shape{1, d});
    const std::string mask = scoped(prefix, "mask_downscaling");
    visit(mask + ".0.weight", mask_conv0_weight, Shape{q, 1, 2, 2});
    visit(mask + ".0.bias", mask_conv0_bias, Shape{q});
    mask_norm0.for_each_parameter(mask + ".1", visit);
    visit(mask + ".3.weight", mask_conv1_weight, Shape{m, q, 2, 2});
    visit(mask + ".3.bias", mask_conv1_bias, Shape{m});
    mask_norm1.for_each_parameter(mask + ".4", visit);
    visit(mask + ".6.weight", mask_conv2_weight, Shape{d, m, 1, 1});
    visit(mask + ".6.bias", mask_conv2_bias, Shape{d});
    visit(scoped(prefix, "no_mask_embed.weight"), no_mask, Shape{1, d});
  }
};

}  // namespace lisa
