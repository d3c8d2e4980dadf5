#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <string>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/mlp.hpp"
#include "lisa/config/sam.hpp"
#include "lisa/nn/expect_shape.hpp"
#include "lisa/nn/in_place.hpp"
#include "lisa/nn/layer_norm_2d.hpp"
#include "lisa/nn/linear_operator.hpp"
#include "lisa/nn/mlp.hpp"
#include "lisa/nn/parameter.hpp"
#include "lisa/sam/prompt_encoder.hpp"
#include "lisa/sam/two_way_transformer.hpp"

namespace lisa {

/// Perceptron of the mask decoder: `Layers` linear layers with ReLU between them, under the names `layers.N`.
template <dim In, dim Hidden, dim Out, dim Layers>
struct SamMlp {
  Mlp<In, Out, MlpConfig{.hidden = Hidden, .layers = Layers}, Activation::relu> mlp;

  /// x [..., In] -> [..., Out].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const { return mlp.forward(x); }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    const auto name = [&](dim layer) { return scoped(prefix, "layers." + std::to_string(layer)); };
    mlp.first.for_each_parameter(name(0), visit);
    for (std::size_t i = 0; i < mlp.middle.size(); ++i) {
      mlp.middle[i].for_each_parameter(name(static_cast<dim>(i) + 1), visit);
    }
    if constexpr (Layers > 1) mlp.last.for_each_parameter(name(Layers - 1), visit);
  }
};

/// Which of the decoder's mask tokens are decoded.
enum class MaskTokens {
  single,  ///< token 0, for an unambiguous prompt (multimask_output False); what LISA uses
  multi,   ///< all but token 0, SAM's alternatives for an ambiguous prompt
  all,     ///< every token, token 0 first
};

/// Decoded masks of N prompts, M mask tokens each.
struct MaskPrediction {
  at::Tensor low_res_masks;    ///< logits [N, M, 4g, 4g]
  at::Tensor iou_predictions;  ///< the decoder's own estimate of each mask's IoU [N, M]
};

/// Mask decoder of Segment Anything (Kirillov et al. 2023, appendix A). Parameter names are SAM's own.
template <SamConfig C>
struct SamMaskDecoder {
  static_assert(C.prompt_dim > 0 && C.prompt_dim % 8 == 0, "SamMaskDecoder: prompt_dim must be a multiple of 8");
  static_assert(C.decoder_heads > 0 && C.prompt_dim % C.decoder_heads == 0,
                "SamMaskDecoder: decoder_heads must divide prompt_dim");
  static_assert(C.attention_downsample > 0 && C.prompt_dim % C.attention_downsample == 0,
                "SamMaskDecoder: attention_downsample must divide prompt_dim");
  static_assert(C.decoder_layers > 0 && C.decoder_mlp > 0, "SamMaskDecoder: needs at least one two-way block");
  static_assert(C.multimask_outputs >= 0, "SamMaskDecoder: multimask_outputs must not be negative");

  static constexpr dim prompt_dim = C.prompt_dim;
  static constexpr dim mask_side = low_res(C);
  static constexpr dim width1 = C.prompt_dim / 4;  ///< channels after the first upscaling
  static constexpr dim width2 = C.prompt_dim / 8;  ///< channels after the second, and of a mask's hypernetwork

  SamTwoWayTransformer<C> transformer;
  at::Tensor iou_token;                       // [1, prompt_dim]
  at::Tensor mask_tokens;                     // [mask tokens, prompt_dim]
  at::Tensor upscale1_weight, upscale1_bias;  // [prompt_dim, width1, 2, 2], [width1]
  LayerNorm2d<width1> upscale_norm;
  at::Tensor upscale2_weight, upscale2_bias;  // [width1, width2, 2, 2], [width2]
  std::array<SamMlp<C.prompt_dim, C.prompt_dim, width2, 3>, static_cast<std::size_t>(lisa::mask_tokens(C))>
      hypernetworks;
  SamMlp<C.prompt_dim, C.iou_head_hidden, lisa::mask_tokens(C), C.iou_head_layers> iou_head;

  /// Masks of N prompts.
  /// @param image_embedding [1, prompt_dim, g, g], shared by the prompts, or [N, prompt_dim, g, g], one for each
  /// @param dense_pe [prompt_dim, g, g] as the prompt encoder gives it
  /// @param prompts sparse [N, T, prompt_dim] and dense embeddings
  /// @throws InputError on other shapes
  [[nodiscard]] MaskPrediction forward(const at::Tensor& image_embedding, const at::Tensor& dense_pe,
                                       const PromptEmbeddings& prompts, MaskTokens which = MaskTokens::single) const {
    constexpr dim g = grid(C), d = C.prompt_dim;
    expect_shape("sparse prompt embeddings", prompts.sparse, {any_extent, any_extent, d});
    const dim n = prompts.sparse.size(0);
    expect_shape("image embedding", image_embedding, {image_embedding.size(0) == 1 ? 1 : n, d, g, g});
    expect_shape("dense positional encoding", dense_pe, {d, g, g});

    const at::Tensor output_tokens = aten::cat({iou_token, mask_tokens}).expand({n, -1, -1});
    const at::Tensor tokens = aten::cat({output_tokens, prompts.sparse}, 1);  // [N, 1 + mask tokens + T, d]
    // No copies: the encoder and the prompt encoder make both with the channels innermost in memory.
    const at::Tensor image =
        image_embedding.add(prompts.dense).flatten(2).transpose(1, 2).contiguous();  // [1 or N, g * g, d]
    const at::Tensor positions = dense_pe.flatten(1).t().contiguous().unsqueeze(0);  // [1, g * g, d]
    const TwoWayState state = transformer.forward(tokens, image, positions);

    const auto [first, count] = range(which);
    std::vector<at::Tensor> weights;
    for (dim i = first; i < first + count; ++i) {
      weights.push_back(hypernetworks[static_cast<std::size_t>(i)].forward(state.tokens.select(1, 1 + i)));
    }
    return {decode(state.image, aten::stack(weights, 1)),
            iou_head.forward(state.tokens.select(1, 0)).narrow(1, first, count)};
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    transformer.for_each_parameter(scoped(prefix, "transformer"), visit);
    visit(scoped(prefix, "iou_token.weight"), iou_token, Shape{1, C.prompt_dim});
    visit(scoped(prefix, "mask_tokens.weight"), mask_tokens, Shape{lisa::mask_tokens(C), C.prompt_dim});
    const std::string upscaling = scoped(prefix, "output_upscaling");
    visit(upscaling + ".0.weight", upscale1_weight, Shape{C.prompt_dim, width1, 2, 2});
    visit(upscaling + ".0.bias", upscale1_bias, Shape{width1});
    upscale_norm.for_each_parameter(upscaling + ".1", visit);
    visit(upscaling + ".3.weight", upscale2_weight, Shape{width1, width2, 2, 2});
    visit(upscaling + ".3.bias", upscale2_bias, Shape{width2});
    for (std::size_t i = 0; i < hypernetworks.size(); ++i) {
      hypernetworks[i].for_each_parameter(scoped(prefix, "output_hypernetworks_mlps." + std::to_string(i)), visit);
    }
    iou_head.for_each_parameter(scoped(prefix, "iou_prediction_head"), visit);
  }

 private:
  struct Range {
    dim first, count;
  };
  static Range range(MaskTokens which) {
    constexpr dim total = lisa::mask_tokens(C);
    switch (which) {
      case MaskTokens::single:
        return {0, 1};
      case MaskTokens::multi:
        return {1, total - 1};
      case MaskTokens::all:
        break;
    }
    return {0, total};
  }

  /// A transposed convolution of kernel and stride 2 is one product per pixel: x [..., In] -> [..., 4, Out], the four
  /// pixels it becomes, row by row.
  static at::Tensor quadruple(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    const dim out = weight.size(1);
    const at::Tensor matrix = weight.permute({2, 3, 1, 0}).reshape({4 * out, weight.size(0)});
    return apply_linear(x, matrix, bias.repeat({4})).unflatten(-1, {4, out});
  }

  /// Upscales the image tokens 4 times and takes each mask's product with its hypernetwork. Pixels stay grouped by the
  /// token they come from until the logits, so that no feature map is ever rearranged.
  /// @param image [N, g * g, prompt_dim]  @param weights [N, M, width2]
  /// @return [N, M, 4g, 4g]
  [[nodiscard]] at::Tensor decode(const at::Tensor& image, const at::Tensor& weights) const {
    constexpr dim g = grid(C);
    const at::Tensor twice = quadruple(image, upscale1_weight, upscale1_bias);  // [N, g * g, 4, width1]
    const at::Tensor normed = gelu_in_place(upscale_norm.forward(twice));
    const at::Tensor four =
        gelu_in_place(quadruple(normed, upscale2_weight, upscale2_bias));          // [N, g * g, 4, 4, width2]
    const at::Tensor logits = weights.matmul(four.flatten(1, 3).transpose(1, 2));  // [N, M, g * g * 16]
    return logits.view({logits.size(0), logits.size(1), g, g, 2, 2, 2, 2})
        .permute({0, 1, 2, 4, 6, 3, 5, 7})
        .reshape({logits.size(0), logits.size(1), 4 * g, 4 * g});
  }
};

}  // namespace lisa
