#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <limits>
#include <utility>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/causal_attention.hpp"

namespace lisa {

/// Causal attention of the newest rows over all keys, with grouped-query heads. Query row i sees the first
/// S - T + i + 1 keys. Scores are rounded to the input dtype; the softmax is computed in fp32 and its result rounded,
/// as in LLaMA's reference. A GPU's kernel rounds no scores.
///
/// @param query  [heads, T, head_dim]
/// @param key    [kv_heads, S, head_dim], S >= T
/// @param value  [kv_heads, S, head_dim]
/// @return       [heads, T, head_dim]
inline at::Tensor causal_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  if (auto attended = gpu::causal_attention(query, key, value)) return *std::move(attended);
  const dim heads = query.size(0), rows = query.size(1), head_dim = query.size(2);
  const dim kv_heads = key.size(0), keys = key.size(1);
  // Query heads of one group are further rows of one product with their shared keys.
  const at::Tensor grouped = query.reshape({kv_heads, heads / kv_heads * rows, head_dim});
  const at::Tensor scores = grouped.matmul(key.transpose(1, 2)).div_(std::sqrt(static_cast<double>(head_dim)));
  if (rows > 1) {
    const at::Tensor hidden = aten::ones({rows, keys}, scores.options().dtype(at::kBool)).triu_(keys - rows + 1);
    scores.view({heads, rows, keys}).masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  }
  // ATen's kernel keeps fp32 inside whatever the dtype; asking it for an fp32 result is four times slower in bf16.
  return scores.softmax(-1).matmul(value).view({heads, rows, head_dim});
}

}  // namespace lisa
