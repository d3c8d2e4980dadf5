#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/kernel_choice.hpp"
#include "lisa/gpu/kernels.hpp"
#include "lisa/gpu/tensor_arguments.hpp"

namespace lisa::gpu {

/// A `cuda::SequenceRows` as int32 words of a tensor, and which of them are its counts of queries and keys.
inline constexpr dim sequence_words = sizeof(cuda::SequenceRows) / sizeof(std::int32_t);
inline constexpr dim sequence_queries_word = offsetof(cuda::SequenceRows, queries) / sizeof(std::int32_t);
inline constexpr dim sequence_keys_word = offsetof(cuda::SequenceRows, keys) / sizeof(std::int32_t);

/// The newest position of one sequence, not yet rotated, and the cache that it is appended to.
struct DecodeOperands {
  at::Tensor q;         ///< [heads, head_dim], contiguous
  at::Tensor k;         ///< [kv_heads, head_dim], contiguous
  at::Tensor v;         ///< as k
  at::Tensor cosine;    ///< [positions, head_dim], contiguous, see `RotaryEmbedding`
  at::Tensor sine;      ///< as cosine
  at::Tensor keys;      ///< [kv_heads, capacity, head_dim], contiguous; the new row is written
  at::Tensor values;    ///< as keys
  at::Tensor sequence;  ///< int32 [sequence_words]: one query, and how many keys there are with the new one
};

/// Fills the arguments from tensors of Element on any device, without the addresses of `workspace` and `out`.
/// @param splits blocks that share the keys of a key head
template <class Element>
[[nodiscard]] cuda::DecodeAttentionArguments<Element> decode_attention_arguments(const DecodeOperands& operands,
                                                                                 int splits) {
  const dim heads = operands.q.size(0), head_dim = operands.q.size(1);
  return {.q = elements_of<Element>(operands.q),
          .k = elements_of<Element>(operands.k),
          .v = elements_of<Element>(operands.v),
          .cosine = elements_of<Element>(operands.cosine),
          .sine = elements_of<Element>(operands.sine),
          .key_cache = mutable_elements_of<Element>(operands.keys),
          .value_cache = mutable_elements_of<Element>(operands.values),
          .workspace = nullptr,
          .out = nullptr,
          .sequences = elements_of<cuda::SequenceRows>(operands.sequence),
          .input_stride = heads * head_dim,
          .input_head_stride = head_dim,
          .cache_stride = head_dim,
          .cache_head_stride = operands.keys.size(1) * head_dim,
          .out_stride = heads * head_dim,
          .out_head_stride = head_dim,
          .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim))),
          .batch = 1,
          .heads = kernel_extent(heads),
          .kv_heads = kernel_extent(operands.k.size(0)),
          .splits = splits,
          .head_dim = kernel_extent(head_dim)};
}

namespace detail {

template <class Element>
[[nodiscard]] std::optional<at::Tensor> launch_decode_attention_of(const DecodeOperands& operands) {
  if constexpr (kernels_linked) {
    const c10::Device device = operands.q.device();
    // The length is the device's affair: splits are chosen for a full cache, and are empty behind the length's end.
    const int splits = cuda::decode_splits(kernel_extent(operands.keys.size(1)), 1, kernel_extent(operands.k.size(0)),
                                           multiprocessors(device));
    auto arguments = decode_attention_arguments<Element>(operands, splits);
    if (cuda::decode_attention_refusal(arguments) != nullptr) return std::nullopt;
    at::Tensor out = aten::empty_like(operands.q);
    const at::Tensor workspace = aten::empty({cuda::decode_workspace_size(arguments)}, out.options().dtype(at::kFloat));
    arguments.out = mutable_elements_of<Element>(out);
    arguments.workspace = mutable_elements_of<float>(workspace);
    launch_on_current_stream(device, "decode attention",
                             [&](auto stream) { return launch_decode_attention(arguments, stream); });
    return out;
  }
  return std::nullopt;
}

}  // namespace detail

/// One step of decoding by CUDA kernels: rotates q and k, appends k and v to the cache, and attends to all keys, with
/// fp32 sums. How many keys there are is read on the device, so that a recorded graph sees each new length.
/// @return [heads, head_dim], queued on the current stream; nothing, and nothing written, where no kernel applies
[[nodiscard]] inline std::optional<at::Tensor> decode_attention(const DecodeOperands& operands) {
  if (!kernels_apply({kernel_operand(operands.q), kernel_operand(operands.k), kernel_operand(operands.v),
                      kernel_operand(operands.cosine), kernel_operand(operands.sine), kernel_operand(operands.keys),
                      kernel_operand(operands.values)}))
    return std::nullopt;
  if (operands.q.scalar_type() == at::kBFloat16) return detail::launch_decode_attention_of<cuda::Bf16>(operands);
  if (operands.q.scalar_type() == at::kHalf) return detail::launch_decode_attention_of<cuda::Fp16>(operands);
  return std::nullopt;
}

}  // namespace lisa::gpu
