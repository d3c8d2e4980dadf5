#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "bench/gpu/dense_bias.hpp"
#include "bench/gpu/plain_weights.hpp"
#include "lisa/sam/image_encoder.hpp"
#include "lisa/sam/relative_attention.hpp"
#include "lisa/sam/relative_position.hpp"

// SAM's image encoder as a module of PyTorch computes it, operator by operator, over the weights of the library's own:
// the peer of the benches, and in fp32 what both are held against. Everything is computed in the dtype of the images.

namespace lisa::gpu_bench {

/// How the plain encoder attends.
enum class PlainAttention {
  dense_bias,  ///< ATen's scaled_dot_product_attention with all position terms as one mask, built for each call
  scores       ///< as published: all scores in memory, two additions, softmax
};

/// The attention of a block with its projections, x [B, g, g, hidden], normalised -> the same. Windows are padded with
/// zeros to whole ones, whose places are projected like any other.
template <SamConfig C>
[[nodiscard]] at::Tensor plain_attention(const SamImageAttention<C>& attention, const at::Tensor& x, dim side,
                                         PlainAttention how) {
  constexpr dim d = head_dim(C);
  const dim batch = x.size(0), g = x.size(1), count = (g + side - 1) / side, more = count * side - g;
  const at::Tensor padded = more == 0 ? x : at::constant_pad_nd(x, {0, 0, 0, more, 0, more});
  const at::Tensor windows = padded.view({batch, count, side, count, side, C.hidden})
                                 .permute({0, 1, 3, 2, 4, 5})
                                 .reshape({-1, side * side, C.hidden});
  const dim n = windows.size(0) * C.heads;
  const at::Tensor projected = plain_linear(windows, attention.qkv.weight, attention.qkv.bias)
                                   .view({-1, side * side, 3, C.heads, d})
                                   .permute({2, 0, 3, 1, 4})
                                   .reshape({3, n, side * side, d});
  const at::Tensor q = projected.select(0, 0), k = projected.select(0, 1), v = projected.select(0, 2);
  const at::Tensor grid_q = q.view({n, side, side, d});
  const at::Tensor rel_h = relative_positions(attention.rel_pos_h.to(x.scalar_type()), side);
  const at::Tensor rel_w = relative_positions(attention.rel_pos_w.to(x.scalar_type()), side);
  constexpr dim all_at_once = dim{1} << 50;
  const at::Tensor attended = how == PlainAttention::dense_bias
                                  ? at::scaled_dot_product_attention(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1),
                                                                     dense_bias(grid_q, rel_h, rel_w))
                                  : relative_attention(grid_q, k, v, rel_h, rel_w, all_at_once);
  const at::Tensor rows =
      attended.reshape({-1, C.heads, side * side, d}).transpose(1, 2).reshape({-1, side * side, C.hidden});
  return plain_linear(rows, attention.proj.weight, attention.proj.bias)
      .view({batch, count, count, side, side, C.hidden})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({batch, count * side, count * side, C.hidden})
      .narrow(1, 0, g)
      .narrow(2, 0, g);
}

/// A norm over the last dimension, of any of the library's modules with weight, bias and eps.
template <class Norm>
[[nodiscard]] at::Tensor plain_norm(const Norm& norm, const at::Tensor& x) {
  return at::layer_norm(x, {x.size(-1)}, norm.weight.to(x.scalar_type()), norm.bias.to(x.scalar_type()), norm.eps);
}

/// One block, x [B, g, g, hidden] -> the same. @param side of its attention
template <SamConfig C>
[[nodiscard]] at::Tensor plain_block(const SamImageBlock<C>& block, const at::Tensor& x, dim side, PlainAttention how) {
  const at::Tensor attended = x.add(plain_attention(block.attn, plain_norm(block.norm1, x), side, how));
  const at::Tensor inner = plain_linear(plain_norm(block.norm2, attended), block.lin1.weight, block.lin1.bias);
  return attended.add(plain_linear(at::gelu(inner), block.lin2.weight, block.lin2.bias));
}

/// The whole encoder. @param images [B, 3, image, image]  @return [B, prompt_dim, g, g]
template <SamConfig C>
[[nodiscard]] at::Tensor plain_encoder(const SamImageEncoder<C>& encoder, const at::Tensor& images,
                                       PlainAttention how) {
  const auto dtype = images.scalar_type();
  at::Tensor x = at::conv2d(images, encoder.patch_weight.to(dtype), encoder.patch_bias.to(dtype), {C.patch, C.patch})
                     .permute({0, 2, 3, 1})
                     .add(encoder.pos_embed.to(dtype));
  for (dim layer = 0; layer < C.layers; ++layer)
    x = plain_block(encoder.blocks[static_cast<std::size_t>(layer)], x, attention_side(C, layer), how);
  const auto channels_first = [](const at::Tensor& t) { return t.permute({0, 3, 1, 2}); };
  const auto channels_last = [](const at::Tensor& t) { return t.permute({0, 2, 3, 1}).contiguous(); };
  const at::Tensor narrow = at::conv2d(channels_first(x), encoder.neck.reduce.to(dtype));
  const at::Tensor mixed = at::conv2d(channels_first(plain_norm(encoder.neck.norm1, channels_last(narrow))),
                                      encoder.neck.mix.to(dtype), {}, /*stride=*/{1, 1}, /*padding=*/{1, 1});
  return channels_first(plain_norm(encoder.neck.norm2, channels_last(mixed)));
}

}  // namespace lisa::gpu_bench
