#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/causal_attention.hpp"
#include "lisa/cpu/own_kernels.hpp"
#include "lisa/gpu/causal_attention.hpp"

namespace lisa {

namespace detail {

/// All heads by the CPU's kernel; the arguments are those of `causal_attention`, rows of keys and values one behind the
/// other.
template <class Element>
[[nodiscard]] at::Tensor causal_attention_of_heads(cpu::CausalAttentionKernel<Element> kernel, const at::Tensor& query,
                                                   const at::Tensor& key, const at::Tensor& value) {
  const dim heads = query.size(0), rows = query.size(1), head_dim = query.size(2), group = heads / key.size(0);
  // As the layer behind takes it: the heads of a row side by side.
  const at::Tensor out = aten::empty({rows, heads, head_dim}, query.options());
  const auto head = [&](dim h) {
    const auto data = [](const at::Tensor& t, dim item) {
      return static_cast<const Element*>(t.const_data_ptr()) + item * t.stride(0);
    };
    return cpu::CausalAttentionHead<Element>{.queries = data(query, h),
                                             .query_stride = query.stride(1),
                                             .keys = data(key, h / group),
                                             .values = data(value, h / group),
                                             .out = static_cast<Element*>(out.mutable_data_ptr()) + h * head_dim,
                                             .out_stride = heads * head_dim,
                                             .rows = rows,
                                             .key_count = key.size(1),
                                             .head_dim = head_dim,
                                             .scale = static_cast<float>(std::sqrt(static_cast<double>(head_dim)))};
  };
  const dim parts = (rows + cpu::causal_attention_rows - 1) / cpu::causal_attention_rows;
  // A thread is worth waking for some hundred thousand products.
  const dim grain = std::max<dim>(1, (dim{1} << 17) / (rows * key.size(1) * head_dim));
  at::parallel_for(0, heads * parts, grain, [&](dim begin, dim end) {
    for (dim i = begin; i < end; ++i) {
      const dim first = i % parts * cpu::causal_attention_rows;
      kernel(head(i / parts), first, std::min(rows, first + cpu::causal_attention_rows));
    }
  });
  return out.transpose(0, 1);
}

/// Nothing where the CPU's kernel does not apply: other devices, dtypes and widths, and operands that record gradients.
[[nodiscard]] inline std::optional<at::Tensor> own_causal_attention(const at::Tensor& query, const at::Tensor& key,
                                                                    const at::Tensor& value) {
  static const auto of_bf16 = cpu::own_kernels_enabled() ? cpu::find_causal_attention<cpu::Bf16Bits>() : nullptr;
  static const auto of_fp32 = cpu::own_kernels_enabled() ? cpu::find_causal_attention<float>() : nullptr;
  const at::ScalarType dtype = query.scalar_type();
  const auto plain = [dtype](const at::Tensor& t) {
    return t.device().is_cpu() && t.scalar_type() == dtype && !(at::GradMode::is_enabled() && t.requires_grad());
  };
  const bool takes = (dtype == at::kBFloat16 ? of_bf16 != nullptr : dtype == at::kFloat && of_fp32 != nullptr) &&
                     cpu::causal_attention_takes(query.size(2)) && plain(query) && plain(key) && plain(value);
  if (!takes) return std::nullopt;
  const auto in_rows = [](const at::Tensor& t) {
    return t.stride(2) == 1 && t.stride(1) == t.size(2) ? t : t.contiguous();
  };
  const at::Tensor q = query.stride(2) == 1 ? query : query.contiguous(), k = in_rows(key), v = in_rows(value);
  return dtype == at::kBFloat16 ? causal_attention_of_heads<cpu::Bf16Bits>(of_bf16, q, k, v)
                                : causal_attention_of_heads<float>(of_fp32, q, k, v);
}

}  // namespace detail

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
  if (auto attended = detail::own_causal_attention(query, key, value)) return *std::move(attended);
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
