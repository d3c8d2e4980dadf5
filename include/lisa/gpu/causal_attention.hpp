#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/kernel_choice.hpp"
#include "lisa/gpu/kernels.hpp"
#include "lisa/gpu/tensor_arguments.hpp"

namespace lisa::gpu {

/// One sequence whose newest positions attend to all of it.
struct CausalAttentionTensors {
  at::Tensor query;     // [heads, T, head_dim]
  at::Tensor key;       // [kv_heads, S, head_dim]
  at::Tensor value;     // [kv_heads, S, head_dim], with the strides of `key`
  at::Tensor sequence;  // int64 [3], see `causal_sequence`
  at::Tensor out;       // [heads, T, head_dim]; each row of head_dim contiguous, as in all of them
};

/// `cuda::SequenceRows` of a sequence that begins with the tensors' first rows, on a device: int64 [3]. It is filled
/// there: a copy would make the host wait for all that is queued.
[[nodiscard]] inline at::Tensor causal_sequence(dim queries, dim keys, const at::TensorOptions& options) {
  static_assert(sizeof(cuda::SequenceRows) == 3 * sizeof(std::int64_t) &&
                    offsetof(cuda::SequenceRows, queries) == 2 * sizeof(std::int64_t) &&
                    offsetof(cuda::SequenceRows, keys) == offsetof(cuda::SequenceRows, queries) + sizeof(int),
                "causal_sequence: the rows must lie as the kernel reads them");
  at::Tensor rows = aten::zeros({3}, options.dtype(at::kLong));
  rows.narrow(0, 2, 1).fill_(static_cast<std::int64_t>(keys) << 32 | queries);
  return rows;
}

/// The strides of [heads, rows, head_dim] as a kernel takes them. That of an extent of 1 is whatever an operator left
/// there; here it is that of a tensor in one piece.
struct HeadStrides {
  dim head, row;

  explicit HeadStrides(const at::Tensor& tensor)
      : head(tensor.size(0) > 1 ? tensor.stride(0) : tensor.size(1) * tensor.size(2)),
        row(tensor.size(1) > 1 ? tensor.stride(1) : tensor.size(2)) {}
  bool operator==(const HeadStrides&) const = default;
};

/// Fills the arguments from tensors of Element on any device.
template <class Element>
[[nodiscard]] cuda::CausalAttentionArguments<Element> causal_attention_arguments(
    const CausalAttentionTensors& tensors) {
  const at::Tensor& query = tensors.query;
  const HeadStrides of_query(query), of_key(tensors.key), of_out(tensors.out);
  return {.q = elements_of<Element>(query),
          .k = elements_of<Element>(tensors.key),
          .v = elements_of<Element>(tensors.value),
          .out = mutable_elements_of<Element>(tensors.out),
          .log_sum = nullptr,
          .sequences = elements_of<cuda::SequenceRows>(tensors.sequence),
          .query_stride = of_query.row,
          .query_head_stride = of_query.head,
          .key_stride = of_key.row,
          .key_head_stride = of_key.head,
          .out_stride = of_out.row,
          .out_head_stride = of_out.head,
          .log_sum_head_stride = 0,
          .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(query.size(2)))),
          .batch = 1,
          .heads = kernel_extent(query.size(0)),
          .kv_heads = kernel_extent(tensors.key.size(0)),
          .most_queries = kernel_extent(query.size(1)),
          .head_dim = kernel_extent(query.size(2))};
}

namespace detail {

/// Why the kernel of an element type can't do this; nullptr where it can. fp32 has the reference.
template <class Element>
[[nodiscard]] const char* sequence_attention_refusal(const cuda::CausalAttentionArguments<Element>& arguments) {
  if constexpr (std::is_same_v<Element, float>)
    return cuda::reference_causal_attention_refusal(arguments);
  else
    return cuda::causal_attention_refusal(arguments);
}

template <class Element>
[[nodiscard]] std::optional<at::Tensor> launch_sequence_attention(const CausalAttentionTensors& tensors) {
  if constexpr (kernels_linked) {
    const auto arguments = causal_attention_arguments<Element>(tensors);
    if (sequence_attention_refusal(arguments) != nullptr) return std::nullopt;
    launch_on_current_stream(tensors.query.device(), "causal attention", [&](auto stream) {
      if constexpr (std::is_same_v<Element, float>)
        return launch_reference_causal_attention(arguments, stream);
      else
        return launch_causal_attention(arguments, stream);
    });
    return tensors.out;
  }
  return std::nullopt;
}

/// Whether keys and values are of one shape that goes with the queries'.
[[nodiscard]] inline bool fit_together(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  return query.dim() == 3 && key.dim() == 3 && key.sizes() == value.sizes() && query.size(2) == key.size(2) &&
         query.size(1) <= key.size(1) && key.size(1) <= cuda::most_sequence_rows;
}

/// A tensor whose last extent has no gaps.
[[nodiscard]] inline at::Tensor with_whole_rows(const at::Tensor& tensor) {
  return tensor.stride(-1) == 1 ? tensor : tensor.contiguous();
}

}  // namespace detail

/// Causal attention by a CUDA kernel: no scores in memory, sums in fp32; see `lisa::causal_attention`. Tensors are read
/// where they lie, in a cache or in a projection's output. bf16 and fp16 by matrix products, fp32 by the reference.
/// @param query [heads, T, head_dim]
/// @param key, value [kv_heads, S, head_dim]
/// @return [heads, T, head_dim], queued on the current stream, in memory [T, heads, head_dim]; nothing where the kernel
///   does not apply
[[nodiscard]] inline std::optional<at::Tensor> causal_attention(const at::Tensor& query, const at::Tensor& key,
                                                                const at::Tensor& value) {
  if (!kernels_apply({kernel_operand(query), kernel_operand(key), kernel_operand(value)}) ||
      !detail::fit_together(query, key, value))
    return std::nullopt;
  CausalAttentionTensors tensors{.query = detail::with_whole_rows(query),
                                 .key = detail::with_whole_rows(key),
                                 .value = detail::with_whole_rows(value),
                                 .sequence = causal_sequence(query.size(1), key.size(1), query.options()),
                                 .out = {}};
  if (HeadStrides(tensors.key) != HeadStrides(tensors.value)) {
    tensors.key = key.contiguous();
    tensors.value = value.contiguous();
  }
  tensors.out = aten::empty({query.size(1), query.size(0), query.size(2)}, query.options()).transpose(0, 1);
  switch (query.scalar_type()) {
    case at::kFloat:
      return detail::launch_sequence_attention<float>(tensors);
    case at::kBFloat16:
      return detail::launch_sequence_attention<cuda::Bf16>(tensors);
    case at::kHalf:
      return detail::launch_sequence_attention<cuda::Fp16>(tensors);
    default:
      return std::nullopt;
  }
}

}  // namespace lisa::gpu
