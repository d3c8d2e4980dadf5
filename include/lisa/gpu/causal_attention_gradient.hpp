#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/causal_attention.hpp"
#include "lisa/gpu/kernel_choice.hpp"
#include "lisa/gpu/kernels.hpp"
#include "lisa/gpu/tensor_arguments.hpp"

namespace lisa::gpu {

/// Plain sequences in one batch of rows, each of which attends to what stands before it in its own sequence. All
/// tensors are contiguous.
struct CausalRows {
  at::Tensor query;      // [R, heads, head_dim]
  at::Tensor key;        // [R, kv_heads, head_dim]
  at::Tensor value;      // as key
  at::Tensor sequences;  // int64 [B, 3], see `causal_row_sequences`
  dim most_rows = 0;     // of the longest sequence
};

/// What attention gives, and what its gradients need of it.
struct AttendedRows {
  at::Tensor out;      // [R, heads, head_dim]; 0 outside of the sequences
  at::Tensor log_sum;  // fp32 [heads, R]
};

/// Gradients by query, key and value, of their shapes; 0 outside of the sequences.
struct CausalRowGradients {
  at::Tensor query, key, value;
};

/// `cuda::SequenceRows` of sequences that begin `pitch` rows apart: int64 [B, 3] on the CPU.
/// @param rows of each sequence
[[nodiscard]] inline at::Tensor causal_row_sequences(const std::vector<dim>& rows, dim pitch) {
  at::Tensor sequences = aten::zeros({static_cast<dim>(rows.size()), 3}, at::kLong);
  auto* next = sequences.mutable_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < rows.size(); ++i, next += 3) {
    const dim first = static_cast<dim>(i) * pitch;
    const cuda::SequenceRows sequence{first, first, kernel_extent(rows[i]), kernel_extent(rows[i])};
    static_assert(sizeof sequence == 3 * sizeof(std::int64_t), "causal_row_sequences: rows must be three words");
    std::memcpy(next, &sequence, sizeof sequence);
  }
  return sequences;
}

/// Fills the arguments of the forward pass from tensors of Element on any device.
template <class Element>
[[nodiscard]] cuda::CausalAttentionArguments<Element> causal_row_arguments(const CausalRows& rows,
                                                                           const AttendedRows& attended) {
  const dim heads = rows.query.size(1), kv_heads = rows.key.size(1), head_dim = rows.query.size(2);
  return {.q = elements_of<Element>(rows.query),
          .k = elements_of<Element>(rows.key),
          .v = elements_of<Element>(rows.value),
          .out = mutable_elements_of<Element>(attended.out),
          .log_sum = mutable_elements_of<float>(attended.log_sum),
          .sequences = elements_of<cuda::SequenceRows>(rows.sequences),
          .query_stride = heads * head_dim,
          .query_head_stride = head_dim,
          .key_stride = kv_heads * head_dim,
          .key_head_stride = head_dim,
          .out_stride = heads * head_dim,
          .out_head_stride = head_dim,
          .log_sum_head_stride = rows.query.size(0),
          .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim))),
          .batch = kernel_extent(rows.sequences.size(0)),
          .heads = kernel_extent(heads),
          .kv_heads = kernel_extent(kv_heads),
          .most_queries = kernel_extent(rows.most_rows),
          .head_dim = kernel_extent(head_dim)};
}

/// Fills the arguments of the gradients, without the workspace's address.
/// @param out_gradient as `attended.out`, contiguous
template <class Element>
[[nodiscard]] cuda::CausalAttentionGradientArguments<Element> causal_row_gradient_arguments(
    const CausalRows& rows, const AttendedRows& attended, const at::Tensor& out_gradient,
    const CausalRowGradients& gradients) {
  return {.forward = causal_row_arguments<Element>(rows, attended),
          .out_gradient = elements_of<Element>(out_gradient),
          .q_gradient = mutable_elements_of<Element>(gradients.query),
          .k_gradient = mutable_elements_of<Element>(gradients.key),
          .v_gradient = mutable_elements_of<Element>(gradients.value),
          .terms = nullptr,
          .most_keys = kernel_extent(rows.most_rows)};
}

/// The kernels of causal rows and their gradients on a GPU, in bf16 and fp16; queued on the current stream.
struct CausalRowKernels {
  /// @pre `causal_row_kernels_apply` for the rows
  [[nodiscard]] static AttendedRows attend(const CausalRows& rows) {
    return rows.query.scalar_type() == at::kHalf ? attend_of<cuda::Fp16>(rows) : attend_of<cuda::Bf16>(rows);
  }
  /// @param out_gradient as `attended.out`, contiguous
  [[nodiscard]] static CausalRowGradients gradients(const CausalRows& rows, const AttendedRows& attended,
                                                    const at::Tensor& out_gradient) {
    return rows.query.scalar_type() == at::kHalf ? gradients_of<cuda::Fp16>(rows, attended, out_gradient)
                                                 : gradients_of<cuda::Bf16>(rows, attended, out_gradient);
  }

 private:
  template <class Element>
  static AttendedRows attend_of(const CausalRows& rows) {
    AttendedRows attended{
        aten::zeros(rows.query.sizes(), rows.query.options()),
        aten::zeros({rows.query.size(1), rows.query.size(0)}, rows.query.options().dtype(at::kFloat))};
    if constexpr (kernels_linked) {
      const auto arguments = causal_row_arguments<Element>(rows, attended);
      launch_on_current_stream(rows.query.device(), "causal attention",
                               [&](auto stream) { return launch_causal_attention(arguments, stream); });
    }
    return attended;
  }

  template <class Element>
  static CausalRowGradients gradients_of(const CausalRows& rows, const AttendedRows& attended,
                                         const at::Tensor& out_gradient) {
    const auto zeros = [](const at::Tensor& like) { return aten::zeros(like.sizes(), like.options()); };
    CausalRowGradients gradients{zeros(rows.query), zeros(rows.key), zeros(rows.value)};
    if constexpr (kernels_linked) {
      auto arguments = causal_row_gradient_arguments<Element>(rows, attended, out_gradient, gradients);
      constexpr dim floats = sizeof(cuda::QueryTerms) / sizeof(float);
      const at::Tensor terms =
          aten::empty({cuda::query_terms_size(arguments) * floats}, attended.log_sum.options());  // the workspace
      arguments.terms = mutable_elements_of<cuda::QueryTerms>(terms);
      launch_on_current_stream(rows.query.device(), "causal attention's gradient",
                               [&](auto stream) { return launch_causal_attention_gradient(arguments, stream); });
    }
    return gradients;
  }
};

/// Whether `CausalRowKernels` take rows of these sizes, which may record gradients.
/// @param options dtype and device of the rows
[[nodiscard]] inline bool causal_row_kernels_apply(dim heads, dim kv_heads, dim head_dim,
                                                   const at::TensorOptions& options,
                                                   const KernelEnvironment& environment = {}) {
  const at::ScalarType dtype = c10::typeMetaToScalarType(options.dtype());
  return kernels_apply({KernelOperand{options.device(), dtype, false}}, environment) &&
         (dtype == at::kBFloat16 || dtype == at::kHalf) &&
         cuda::grouped_heads_refusal(kernel_extent(head_dim), 1, kernel_extent(heads), kernel_extent(kv_heads)) ==
             nullptr;
}

}  // namespace lisa::gpu
