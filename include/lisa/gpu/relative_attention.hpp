#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/kernel_choice.hpp"
#include "lisa/gpu/kernels.hpp"
#include "lisa/gpu/tensor_arguments.hpp"

namespace lisa::gpu {

/// The kernel that computes an attention with relative positions.
enum class RelativeAttentionKernel : std::uint8_t {
  none,       ///< none can: ATen
  global,     ///< `global_attention`: one window that is the grid
  window,     ///< `window_attention`
  reference,  ///< `reference_window_attention`: fp32
};

/// A kernel and what it is to be called with; `global` takes `arguments.attention` alone.
template <class Element>
struct RelativeAttentionPlan {
  RelativeAttentionKernel kernel = RelativeAttentionKernel::none;
  cuda::WindowAttentionArguments<Element> arguments{};  ///< without `out`'s address
};

/// Fills the arguments from tensors of Element on any device and asks the kernels' refusals.
/// @param projected [B, h, w, 3 * heads * head_dim], contiguous
/// @param padding   [3 * heads * head_dim], contiguous
/// @param rel_h, rel_w [2 * side - 1, head_dim], contiguous
template <class Element>
[[nodiscard]] RelativeAttentionPlan<Element> plan_relative_attention(const at::Tensor& projected,
                                                                     const at::Tensor& padding, const at::Tensor& rel_h,
                                                                     const at::Tensor& rel_w, dim head_dim, dim side) {
  const dim batch = projected.size(0), height = projected.size(1), width = projected.size(2);
  const dim hidden = projected.size(3) / 3;
  const auto* const q = elements_of<Element>(projected);
  const auto* const of_padding = elements_of<Element>(padding);
  RelativeAttentionPlan<Element> plan;
  plan.arguments = {.attention = {.q = q,
                                  .k = q + hidden,
                                  .v = q + 2 * hidden,
                                  .rel_h = elements_of<Element>(rel_h),
                                  .rel_w = elements_of<Element>(rel_w),
                                  .out = nullptr,
                                  .batch_stride = height * width * 3 * hidden,
                                  .token_stride = 3 * hidden,
                                  .head_stride = head_dim,
                                  .out_batch_stride = height * width * hidden,
                                  .out_token_stride = hidden,
                                  .out_head_stride = head_dim,
                                  .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim))),
                                  .batch = kernel_extent(batch),
                                  .heads = kernel_extent(hidden / head_dim),
                                  .grid_height = kernel_extent(height),
                                  .grid_width = kernel_extent(width),
                                  .head_dim = kernel_extent(head_dim)},
                    .key_padding = of_padding + hidden,
                    .value_padding = of_padding + 2 * hidden,
                    .window_side = kernel_extent(side)};
  if constexpr (std::is_same_v<Element, float>) {
    if (cuda::reference_window_attention_refusal(plan.arguments) == nullptr)
      plan.kernel = RelativeAttentionKernel::reference;
  } else if (side == height && side == width && cuda::global_attention_refusal(plan.arguments.attention) == nullptr) {
    plan.kernel = RelativeAttentionKernel::global;
  } else if (cuda::window_attention_refusal(plan.arguments) == nullptr) {
    plan.kernel = RelativeAttentionKernel::window;
  }
  return plan;
}

namespace detail {

/// Launches the plan's kernel, which is not `none`.
template <class Element>
void launch_planned(const RelativeAttentionPlan<Element>& plan, const c10::Device& device) {
  if constexpr (std::is_same_v<Element, float>) {
    launch_on_current_stream(device, "reference attention",
                             [&](auto stream) { return launch_reference_window_attention(plan.arguments, stream); });
  } else if (plan.kernel == RelativeAttentionKernel::global) {
    launch_on_current_stream(device, "global attention",
                             [&](auto stream) { return launch_global_attention(plan.arguments.attention, stream); });
  } else {
    launch_on_current_stream(device, "window attention",
                             [&](auto stream) { return launch_window_attention(plan.arguments, stream); });
  }
}

template <class Element>
[[nodiscard]] std::optional<at::Tensor> launch_relative_attention(const at::Tensor& projected,
                                                                  const at::Tensor& padding, const at::Tensor& rel_h,
                                                                  const at::Tensor& rel_w, dim head_dim, dim side) {
  if constexpr (kernels_linked) {
    RelativeAttentionPlan<Element> plan =
        plan_relative_attention<Element>(projected, padding, rel_h, rel_w, head_dim, side);
    if (plan.kernel == RelativeAttentionKernel::none) return std::nullopt;
    at::Tensor out = aten::empty({projected.size(0), projected.size(1), projected.size(2), projected.size(3) / 3},
                                 projected.options());
    plan.arguments.attention.out = mutable_elements_of<Element>(out);
    launch_planned(plan, projected.device());
    return out;
  }
  return std::nullopt;
}

}  // namespace detail

/// Attention with decomposed relative positions by a CUDA kernel, with fp32 sums; see `fused_relative_attention`.
/// @param rel_h, rel_w [2 * side - 1, head_dim]
/// @return [B, h, w, heads * head_dim], queued on the current stream; nothing where no kernel applies
[[nodiscard]] inline std::optional<at::Tensor> relative_attention(const at::Tensor& projected,
                                                                  const at::Tensor& padding, const at::Tensor& rel_h,
                                                                  const at::Tensor& rel_w, dim head_dim, dim side) {
  if (!kernels_apply(
          {kernel_operand(projected), kernel_operand(padding), kernel_operand(rel_h), kernel_operand(rel_w)}))
    return std::nullopt;
  const at::Tensor tokens = projected.contiguous(), pad = padding.contiguous();
  const at::Tensor h = rel_h.contiguous(), w = rel_w.contiguous();
  switch (tokens.scalar_type()) {
    case at::kFloat:
      return detail::launch_relative_attention<float>(tokens, pad, h, w, head_dim, side);
    case at::kBFloat16:
      return detail::launch_relative_attention<cuda::Bf16>(tokens, pad, h, w, head_dim, side);
    case at::kHalf:
      return detail::launch_relative_attention<cuda::Fp16>(tokens, pad, h, w, head_dim, side);
    default:
      return std::nullopt;
  }
}

}  // namespace lisa::gpu
