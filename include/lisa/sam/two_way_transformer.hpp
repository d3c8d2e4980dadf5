#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include "lisa/config/sam.hpp"
#include "lisa/nn/in_place.hpp"
#include "lisa/nn/layer_norm.hpp"
#include "lisa/nn/linear.hpp"
#include "lisa/nn/linear_operator.hpp"
#include "lisa/nn/parameter.hpp"
#include "lisa/sam/few_token_attention.hpp"
#include "lisa/sam/unprojected_attention.hpp"

namespace lisa {

/// Which operands of an attention are the image embedding as the encoder made it. The original has it there as a
/// transposed view of [C, g * g], for which ATen's linear rounds the product before it adds the bias; in bf16 the mask
/// logits move by some percent when those roundings differ.
enum class FeatureMap : std::uint8_t { none, queries, keys };  // keys: and values

/// Multi-head attention of the mask decoder, computed at an inner width. Queries and keys may differ in batch: one of
/// them may hold a single item that stands for all (the image, before prompts changed it).
template <dim Width, dim Inner, dim Heads>
struct SamDecoderAttention {
  static_assert(Heads > 0 && Inner % Heads == 0,
                "SamDecoderAttention: decoder_heads must divide prompt_dim / attention_downsample");

  Linear<Width, Inner> q_proj, k_proj, v_proj;
  Linear<Inner, Width> out_proj;

  /// queries [Bq, Tq, Width], keys and values [Bk, Tk, Width] with Bq == Bk, Bq == 1 or Bk == 1
  /// -> [max(Bq, Bk), Tq, Width].
  /// @param feature_map which operands are the image embedding, see `FeatureMap`
  [[nodiscard]] at::Tensor forward(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                                   FeatureMap feature_map = FeatureMap::none) const {
    const AttentionProjections projections = all_projections();
    const double scale = std::sqrt(static_cast<double>(Inner / Heads));
    if (unprojected::is_cheaper(queries, keys, projections))
      return unprojected::tokens_to_pixels(queries, keys, values, projections, scale);
    if (unprojected::is_cheaper(keys, queries, projections))
      return unprojected::pixels_to_tokens(queries, keys, values, projections, scale);
    const auto project = [feature_map](const auto& linear, const at::Tensor& x, FeatureMap of) {
      return feature_map == of ? apply_linear(x, linear.weight).add_(linear.bias) : linear.forward(x);
    };
    const at::Tensor q = project(q_proj, queries, FeatureMap::queries);  // [Bq, Tq, Inner]
    const at::Tensor k = project(k_proj, keys, FeatureMap::keys), v = project(v_proj, values, FeatureMap::keys);
    const auto seen = few_token_attention(q, k, v, Heads);
    return out_proj.forward(seen ? *seen : attend_by_operators(q, k, v));
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    q_proj.for_each_parameter(scoped(prefix, "q_proj"), visit);
    k_proj.for_each_parameter(scoped(prefix, "k_proj"), visit);
    v_proj.for_each_parameter(scoped(prefix, "v_proj"), visit);
    out_proj.for_each_parameter(scoped(prefix, "out_proj"), visit);
  }

 private:
  [[nodiscard]] AttentionProjections all_projections() const {
    return {.query = {q_proj.weight, q_proj.bias},
            .key = {k_proj.weight, k_proj.bias},
            .value = {v_proj.weight, v_proj.bias},
            .out = {out_proj.weight, out_proj.bias},
            .heads = Heads};
  }

  static at::Tensor heads(const at::Tensor& t) { return t.unflatten(2, {Heads, Inner / Heads}).transpose(1, 2); }

  /// q [Bq, Tq, Inner], k and v [Bk, Tk, Inner] -> [max(Bq, Bk), Tq, Inner].
  static at::Tensor attend_by_operators(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values) {
    at::Tensor q = heads(queries);  // [Bq, Heads, Tq, Inner / Heads]
    const dim batch = q.size(0), rows = q.size(2);
    const bool shared_keys = keys.size(0) == 1 && batch > 1;
    // With shared keys the queries of all items become rows of one product, so that keys are not copied per item.
    if (shared_keys) q = q.transpose(0, 1).reshape({1, Heads, batch * rows, Inner / Heads});
    at::Tensor out = attend(q, heads(keys), heads(values));  // [B, Heads, T, Inner / Heads]
    if (shared_keys) out = out.view({Heads, batch, rows, Inner / Heads}).transpose(0, 1);
    return out.transpose(1, 2).flatten(2);
  }

  /// q [B, Heads, Tq, w], k and v [B, Heads, Tk, w] -> [B, Heads, Tq, w].
  static at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    const double scale = std::sqrt(static_cast<double>(Inner / Heads));
    if (k.size(2) * 8 > q.size(2)) return q.matmul(k.transpose(-2, -1)).div_(scale).softmax(-1).matmul(v);
    // A pixel sees a handful of tokens: with the pixels innermost, whole registers of them take each step together.
    const at::Tensor weights = k.matmul(q.transpose(-2, -1)).div_(scale).softmax(-2);  // [B, Heads, Tk, Tq]
    return weights.transpose(-2, -1).matmul(v);
  }
};

/// The prompt's tokens and the image's tokens, which attend to each other.
struct TwoWayState {
  at::Tensor tokens;  ///< [N, T, prompt_dim]
  at::Tensor image;   ///< [N, g * g, prompt_dim], or batch 1 while the image is still the same for every prompt
};

/// One two-way block: tokens to themselves, tokens to image, MLP on tokens, image to tokens; each followed by a norm
/// (Kirillov et al. 2023, appendix A).
template <SamConfig C>
struct SamTwoWayBlock {
  static constexpr dim width = C.prompt_dim;
  static constexpr dim inner = C.prompt_dim / C.attention_downsample;

  SamDecoderAttention<width, width, C.decoder_heads> self_attn;
  SamDecoderAttention<width, inner, C.decoder_heads> cross_attn_token_to_image, cross_attn_image_to_token;
  Linear<width, C.decoder_mlp> lin1;
  Linear<C.decoder_mlp, width> lin2;
  LayerNorm<width> norm1, norm2, norm3, norm4;

  /// @param token_pe [N, T, width], the tokens as they entered the transformer
  /// @param image_pe [1, g * g, width]
  /// @param first whether this is the first block, whose self-attention takes no positions and has no residual
  [[nodiscard]] TwoWayState forward(const TwoWayState& state, const at::Tensor& token_pe, const at::Tensor& image_pe,
                                    bool first) const {
    at::Tensor tokens = state.tokens;
    if (first) {
      tokens = self_attn.forward(tokens, tokens, tokens);
    } else {
      const at::Tensor placed = tokens.add(token_pe);
      tokens = tokens.add(self_attn.forward(placed, placed, tokens));
    }
    tokens = norm1.forward(tokens);
    const at::Tensor placed_image = state.image.add(image_pe);
    const at::Tensor seen = cross_attn_token_to_image.forward(tokens.add(token_pe), placed_image, state.image,
                                                              first ? FeatureMap::keys : FeatureMap::none);
    tokens = norm2.forward(tokens.add(seen));
    tokens = norm3.forward(tokens.add(lin2.forward(lin1.forward(tokens).relu())));
    const at::Tensor change = cross_attn_image_to_token.forward(placed_image, tokens.add(token_pe), tokens,
                                                                first ? FeatureMap::queries : FeatureMap::none);
    return {tokens, norm4.forward(add_in_place(change, state.image))};
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    self_attn.for_each_parameter(scoped(prefix, "self_attn"), visit);
    norm1.for_each_parameter(scoped(prefix, "norm1"), visit);
    cross_attn_token_to_image.for_each_parameter(scoped(prefix, "cross_attn_token_to_image"), visit);
    norm2.for_each_parameter(scoped(prefix, "norm2"), visit);
    lin1.for_each_parameter(scoped(prefix, "mlp.lin1"), visit);
    lin2.for_each_parameter(scoped(prefix, "mlp.lin2"), visit);
    norm3.for_each_parameter(scoped(prefix, "norm3"), visit);
    norm4.for_each_parameter(scoped(prefix, "norm4"), visit);
    cross_attn_image_to_token.for_each_parameter(scoped(prefix, "cross_attn_image_to_token"), visit);
  }
};

/// The decoder's transformer: two-way blocks, then a last attention of the tokens to the image.
template <SamConfig C>
struct SamTwoWayTransformer {
  static constexpr dim width = C.prompt_dim;

  std::array<SamTwoWayBlock<C>, static_cast<std::size_t>(C.decoder_layers)> layers;
  SamDecoderAttention<width, width / C.attention_downsample, C.decoder_heads> final_attn_token_to_image;
  LayerNorm<width> norm_final_attn;

  /// @param tokens [N, T, width]
  /// @param image [1 or N, g * g, width], image embedding with the dense prompt added
  /// @param image_pe [1, g * g, width]
  /// @return both after the transformer; the image has batch N
  [[nodiscard]] TwoWayState forward(const at::Tensor& tokens, const at::Tensor& image,
                                    const at::Tensor& image_pe) const {
    TwoWayState state{tokens, image};
    for (std::size_t i = 0; i < layers.size(); ++i) state = layers[i].forward(state, tokens, image_pe, i == 0);
    const at::Tensor attended =
        final_attn_token_to_image.forward(state.tokens.add(tokens), state.image.add(image_pe), state.image);
    return {norm_final_attn.forward(state.tokens.add(attended)), state.image};
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      layers[i].for_each_parameter(scoped(prefix, "layers." + std::to_string(i)), visit);
    }
    final_attn_token_to_image.for_each_parameter(scoped(prefix, "final_attn_token_to_image"), visit);
    norm_final_attn.for_each_parameter(scoped(prefix, "norm_final_attn"), visit);
  }
};

}  // namespace lisa
