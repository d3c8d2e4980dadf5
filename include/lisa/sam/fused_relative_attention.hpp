#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/cpu/own_kernels.hpp"
#include "lisa/cpu/relative_attention.hpp"
#include "lisa/gpu/kernel_choice.hpp"
#include "lisa/gpu/relative_attention.hpp"
#include "lisa/sam/relative_position.hpp"

namespace lisa {
namespace detail {

template <class Element, dim HeadDim>
[[nodiscard]] at::Tensor run_relative_attention(cpu::RelativeAttentionKernel<Element> kernel,
                                                const at::Tensor& projected, const at::Tensor& padding,
                                                const at::Tensor& rel_h, const at::Tensor& rel_w, dim side) {
  using Stored = std::conditional_t<std::same_as<Element, float>, float, at::BFloat16>;
  const auto values = [](const at::Tensor& t) { return reinterpret_cast<const Element*>(t.const_data_ptr<Stored>()); };
  const at::Tensor tokens = projected.contiguous(), pad = padding.contiguous();
  const at::Tensor h = fitted_positions(rel_h, side).contiguous(), w = fitted_positions(rel_w, side).contiguous();
  const dim hidden = projected.size(3) / 3;
  at::Tensor out = aten::empty({tokens.size(0), tokens.size(1), tokens.size(2), hidden}, tokens.options());
  const cpu::RelativeAttention<Element> attention{.tokens = values(tokens),
                                                  .padding = values(pad),
                                                  .rel_h = values(h),
                                                  .rel_w = values(w),
                                                  .out = reinterpret_cast<Element*>(out.mutable_data_ptr<Stored>()),
                                                  .batch = tokens.size(0),
                                                  .height = tokens.size(1),
                                                  .width = tokens.size(2),
                                                  .heads = hidden / HeadDim,
                                                  .side = side};
  // A thread is worth waking for some millions of operations.
  const dim piece = 4 * cpu::RelativeAttention<Element>::block_queries * side * side * HeadDim;
  const dim grain = std::max<dim>(1, (dim{1} << 22) / piece);
  at::parallel_for(0, attention.pieces(), grain, [&](dim begin, dim end) { kernel(attention, begin, end); });
  return out;
}

}  // namespace detail

/// Attention with decomposed relative positions by this library's own kernel for the tensors' device: no scores in
/// memory, no copies of windows, and sums in fp32, so that it rounds less often than `relative_attention`. For
/// inference only.
/// @param projected [B, h, w, 3 * heads * HeadDim]: queries, keys and values of a grid of tokens
/// @param padding   [3 * heads * HeadDim]: the same of the places of windows outside the grid
/// @param rel_h, rel_w tables of relative positions as for `fitted_positions`
/// @param side of the windows, which begin at the grid's corner
/// @return [B, h, w, heads * HeadDim]; nothing where no kernel applies: another device, dtype, processor, width of a
///   head or size of the grid, a gradient to record, or LISA_KERNELS=reference
template <dim HeadDim>
[[nodiscard]] std::optional<at::Tensor> fused_relative_attention(const at::Tensor& projected, const at::Tensor& padding,
                                                                 const at::Tensor& rel_h, const at::Tensor& rel_w,
                                                                 dim side) {
  if (projected.is_cuda())
    return gpu::relative_attention(projected, padding, fitted_positions(rel_h, side), fitted_positions(rel_w, side),
                                   HeadDim, side);
  if constexpr (cpu::AttentionHeadDim<HeadDim>) {
    if (!cpu::own_kernels_enabled() || !projected.is_cpu() ||
        !gpu::kernel_operands_agree({gpu::kernel_operand(projected), gpu::kernel_operand(padding),
                                     gpu::kernel_operand(rel_h), gpu::kernel_operand(rel_w)}))
      return std::nullopt;
    const at::ScalarType dtype = projected.scalar_type();
    if (dtype == at::kBFloat16) {
      if (const auto kernel = cpu::find_relative_attention<cpu::Bf16Bits, HeadDim>())
        return detail::run_relative_attention<cpu::Bf16Bits, HeadDim>(kernel, projected, padding, rel_h, rel_w, side);
    } else if (dtype == at::kFloat) {
      if (const auto kernel = cpu::find_relative_attention<float, HeadDim>())
        return detail::run_relative_attention<float, HeadDim>(kernel, projected, padding, rel_h, rel_w, side);
    }
  }
  return std::nullopt;
}

}  // namespace lisa
