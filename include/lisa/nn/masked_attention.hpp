#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>

#include "lisa/config/dim.hpp"

namespace lisa {

/// Attention with grouped-query heads in which a bias decides who sees whom; differentiable.
///
/// @param query  [B, heads, T, head_dim]
/// @param key    [B, kv_heads, S, head_dim]
/// @param value  [B, kv_heads, S, head_dim]
/// @param bias   [B, 1, T, S], added to the scores: 0 where the row's query sees the column's key, else -infinity;
///               every query sees at least one key
/// @return       [B, heads, T, head_dim]
inline at::Tensor masked_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                   const at::Tensor& bias) {
  const dim heads = query.size(1), kv_heads = key.size(1);
  // Scaling the queries instead of the scores passes over fewer numbers.
  const at::Tensor scaled = query.mul(1.0 / std::sqrt(static_cast<double>(query.size(3))));
  if (heads == kv_heads) return scaled.matmul(key.transpose(2, 3)).add_(bias).softmax(-1).matmul(value);
  const at::Tensor grouped = scaled.unflatten(1, {kv_heads, heads / kv_heads});  // [B, kv, group, T, d]
  const at::Tensor scores = grouped.matmul(key.unsqueeze(2).transpose(3, 4)).add_(bias.unsqueeze(1));
  return scores.softmax(-1).matmul(value.unsqueeze(2)).flatten(1, 2);
}

}  // namespace lisa
