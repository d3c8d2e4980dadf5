#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/nn/linear_operator.hpp"

namespace lisa {

/// The projections of an attention: weights [Inner, Width] and biases [Inner], those of `out` [Width, Inner] and
/// [Width].
struct AttentionProjections {
  struct Projection {
    at::Tensor weight, bias;
  };
  Projection query, key, value, out;
  dim heads;
};

/// Attention between a few tokens and many pixels in which pixels are never projected: a product's weights are moved to
/// the tokens' side, (x W^T) k^T = x (k W)^T. With fewer heads times tokens than the inner width that is less work, and
/// exact but for the order of sums. Meant for fp32: in fewer bits it would round elsewhere than the original does.
namespace unprojected {

namespace detail {

/// [B, T, Inner] -> [B, heads, T, Inner / heads].
[[nodiscard]] inline at::Tensor split(const at::Tensor& t, dim heads) {
  return t.unflatten(2, {heads, t.size(2) / heads}).transpose(1, 2);
}
/// [Inner, Width] -> [heads, Inner / heads, Width].
[[nodiscard]] inline at::Tensor split_rows(const at::Tensor& weight, dim heads) {
  return weight.unflatten(0, {heads, weight.size(0) / heads});
}
/// [B, heads, T, Width] -> [B, heads * T, Width].
[[nodiscard]] inline at::Tensor rows(const at::Tensor& t) { return t.flatten(1, 2); }

/// Item `i` of a batch of which one may stand for all.
[[nodiscard]] inline at::Tensor item(const at::Tensor& batch, dim i) {
  return batch.select(0, batch.size(0) == 1 ? 0 : i);
}

}  // namespace detail

/// Whether the pixels need less work this way, and nothing needs them projected: pixels and tokens in fp32 without
/// gradients.
/// @param tokens [N, T, Width]  @param pixels [1 or N, P, Width]
[[nodiscard]] inline bool is_cheaper(const at::Tensor& tokens, const at::Tensor& pixels,
                                     const AttentionProjections& projections) {
  const auto plain = [](const at::Tensor& t) {
    return t.device().is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous() &&
           !(at::GradMode::is_enabled() && t.requires_grad());
  };
  // Pixels that are shared would be projected once, but are multiplied by the tokens of every item.
  const dim shared_by = pixels.size(0) == 1 ? tokens.size(0) : 1;
  const dim columns = shared_by * projections.heads * tokens.size(1);
  return columns > 0 && columns < projections.query.weight.size(0) && pixels.size(1) > columns && plain(pixels) &&
         plain(tokens) && plain(projections.query.weight) && plain(projections.key.weight);
}

/// Tokens attend to pixels.
/// @param queries [N, T, Width]  @param keys [1 or N, P, Width]  @param values as keys
/// @return [N, T, Width]
[[nodiscard]] inline at::Tensor tokens_to_pixels(const at::Tensor& queries, const at::Tensor& keys,
                                                 const at::Tensor& values, const AttentionProjections& projections,
                                                 double scale) {
  const dim heads = projections.heads;
  const at::Tensor q = detail::split(apply_linear(queries, projections.query.weight, projections.query.bias), heads);
  // The bias of the keys adds the same to all scores of a query and drops out of the softmax.
  const at::Tensor asked =
      detail::rows(q.matmul(detail::split_rows(projections.key.weight, heads)));  // [N, H T, Width]
  std::vector<at::Tensor> seen;
  for (dim i = 0; i < queries.size(0); ++i) {
    const at::Tensor shares = apply_linear(asked.select(0, i), detail::item(keys, i)).div_(scale).softmax(-1);
    seen.push_back(shares.matmul(detail::item(values, i)));  // [H T, Width]
  }
  const at::Tensor v = aten::stack(seen, 0)
                           .unflatten(1, {heads, queries.size(1)})
                           .matmul(detail::split_rows(projections.value.weight, heads).transpose(1, 2));
  return apply_linear(v.transpose(1, 2).flatten(2).add_(projections.value.bias), projections.out.weight,
                      projections.out.bias);
}

/// Pixels attend to tokens.
/// @param queries [1 or N, P, Width]  @param keys [N, T, Width]  @param values as keys
/// @return [N, P, Width]
[[nodiscard]] inline at::Tensor pixels_to_tokens(const at::Tensor& queries, const at::Tensor& keys,
                                                 const at::Tensor& values, const AttentionProjections& projections,
                                                 double scale) {
  const dim heads = projections.heads, tokens = keys.size(1);
  const at::Tensor k = detail::split(apply_linear(keys, projections.key.weight, projections.key.bias), heads);
  const at::Tensor v = detail::split(apply_linear(values, projections.value.weight, projections.value.bias), heads);
  const at::Tensor asked = detail::rows(k.matmul(detail::split_rows(projections.query.weight, heads)));
  const at::Tensor offset = k.matmul(detail::split_rows(projections.query.bias.unsqueeze(1), heads)).flatten(1, 2);
  const at::Tensor told = detail::rows(v.matmul(detail::split_rows(projections.out.weight.t(), heads)));
  std::vector<at::Tensor> seen;
  for (dim i = 0; i < keys.size(0); ++i) {
    const at::Tensor scores = apply_linear(asked.select(0, i), detail::item(queries, i)).add_(offset.select(0, i));
    const at::Tensor shares = scores.div_(scale).unflatten(0, {heads, tokens}).softmax(1).flatten(0, 1);  // [H T, P]
    seen.push_back(shares.t().matmul(told.select(0, i)).add_(projections.out.bias));
  }
  return aten::stack(seen, 0);
}

}  // namespace unprojected

}  // namespace lisa
