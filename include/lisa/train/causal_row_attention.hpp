#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>

#include "lisa/config/dim.hpp"
#include "lisa/config/llama.hpp"
#include "lisa/gpu/causal_attention_gradient.hpp"
#include "lisa/gpu/kernel_choice.hpp"
#include "lisa/llm/branched_rows.hpp"

namespace lisa {
namespace detail {

/// Causal attention of plain sequences as autograd knows it: the forward pass keeps its result and the sums of
/// exponentials, from which the backward pass computes the weights again.
/// @tparam Kernels  computes both, as `gpu::CausalRowKernels`
template <class Kernels>
struct CausalRowFunction : torch::autograd::Function<CausalRowFunction<Kernels>> {
  using Context = torch::autograd::AutogradContext;

  /// query [R, heads, head_dim], key and value [R, kv_heads, head_dim] -> as query
  static at::Tensor forward(Context* context, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const at::Tensor& sequences, std::int64_t most_rows) {
    const gpu::CausalRows rows{query.contiguous(), key.contiguous(), value.contiguous(), sequences, most_rows};
    const gpu::AttendedRows attended = Kernels::attend(rows);
    context->save_for_backward({rows.query, rows.key, rows.value, sequences, attended.out, attended.log_sum});
    context->saved_data["most_rows"] = most_rows;
    return attended.out;
  }

  static torch::autograd::variable_list backward(Context* context, const torch::autograd::variable_list& gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const gpu::CausalRows rows{saved[0], saved[1], saved[2], saved[3], context->saved_data["most_rows"].toInt()};
    const auto [query, key, value] = Kernels::gradients(rows, {saved[4], saved[5]}, gradients.front().contiguous());
    return {query, key, value, at::Tensor(), at::Tensor()};  // none by the sequences
  }
};

/// `RowAttention` by the given kernels. @param rows of plain sequences, at least one
template <class Kernels>
[[nodiscard]] RowAttention causal_row_attention_by(const BranchedRows& rows) {
  const at::Tensor sequences =
      gpu::causal_row_sequences(rows.plain_rows, rows.length).to(rows.positions.device());  // int64 [items, 3]
  const dim most_rows = *std::ranges::max_element(rows.plain_rows);
  return [sequences, most_rows](const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
    return CausalRowFunction<Kernels>::apply(query, key, value, sequences, most_rows);
  };
}

}  // namespace detail

/// The attention of a batch's rows by CUDA kernels, with gradients by one as well; empty where these don't apply:
/// beside dtype and widths, because dialogues share what they begin with.
/// @param rows  with the bias in the model's dtype, where the model is
[[nodiscard]] inline RowAttention causal_row_attention(const BranchedRows& rows, const LlamaConfig& config,
                                                       const gpu::KernelEnvironment& environment = {}) {
  if (rows.plain_rows.empty() ||
      !gpu::causal_row_kernels_apply(config.heads, config.kv_heads, head_dim(config), rows.bias.options(), environment))
    return {};
  return detail::causal_row_attention_by<gpu::CausalRowKernels>(rows);
}

}  // namespace lisa
