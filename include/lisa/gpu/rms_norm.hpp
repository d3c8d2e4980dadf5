#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <utility>

#include "lisa/aten/operators.hpp"
#include "lisa/gpu/kernel_choice.hpp"
#include "lisa/gpu/kernels.hpp"
#include "lisa/gpu/tensor_arguments.hpp"

namespace lisa::gpu {

/// What a normalisation of rows reads and writes, all contiguous.
struct RmsNormTensors {
  at::Tensor x;       // [..., width]
  at::Tensor added;   // [..., width], or undefined
  at::Tensor weight;  // [width]
  at::Tensor sum;     // [..., width], x + added; undefined without `added`
  at::Tensor out;     // [..., width], the norm of what `sum` holds, or else of x
};

/// Fills the arguments from tensors of Element on any device.
template <class Element>
[[nodiscard]] cuda::RmsNormArguments<Element> rms_norm_arguments(const RmsNormTensors& tensors, double eps) {
  const dim width = tensors.weight.size(0);
  return {.x = elements_of<Element>(tensors.x),
          .added = tensors.added.defined() ? elements_of<Element>(tensors.added) : nullptr,
          .weight = elements_of<Element>(tensors.weight),
          .sum = tensors.sum.defined() ? mutable_elements_of<Element>(tensors.sum) : nullptr,
          .out = mutable_elements_of<Element>(tensors.out),
          .eps = static_cast<float>(eps),
          .rows = kernel_extent(tensors.x.numel() / width),
          .width = kernel_extent(width)};
}

namespace detail {

template <class Element>
[[nodiscard]] bool launch_normalised_rows(const RmsNormTensors& tensors, double eps) {
  if constexpr (kernels_linked) {
    const auto arguments = rms_norm_arguments<Element>(tensors, eps);
    if (cuda::rms_norm_refusal(arguments) != nullptr) return false;
    launch_on_current_stream(tensors.x.device(), "rms_norm",
                             [&](auto stream) { return launch_rms_norm(arguments, stream); });
    return true;
  }
  return false;
}

/// The norm of x, or of x + added where that is defined; nothing where the kernel does not apply.
[[nodiscard]] inline std::optional<RmsNormTensors> normalised_rows(const at::Tensor& x, const at::Tensor& added,
                                                                   const at::Tensor& weight, double eps) {
  if (!kernels_apply({kernel_operand(x), kernel_operand(weight), kernel_operand(added.defined() ? added : x)}) ||
      weight.numel() == 0 || x.dim() == 0 || x.size(-1) != weight.numel() ||
      (added.defined() && added.sizes() != x.sizes()))
    return std::nullopt;
  const bool bf16 = x.scalar_type() == at::kBFloat16;
  if (!bf16 && x.scalar_type() != at::kHalf) return std::nullopt;
  RmsNormTensors tensors{.x = x.contiguous(), .added = {}, .weight = weight.contiguous(), .sum = {}, .out = {}};
  tensors.out = aten::empty(x.sizes(), x.options());
  if (added.defined()) {
    tensors.added = added.contiguous();
    tensors.sum = aten::empty(x.sizes(), x.options());
  }
  const bool launched =
      bf16 ? launch_normalised_rows<cuda::Bf16>(tensors, eps) : launch_normalised_rows<cuda::Fp16>(tensors, eps);
  return launched ? std::optional(std::move(tensors)) : std::nullopt;
}

}  // namespace detail

/// Root-mean-square normalisation by a CUDA kernel, rounded as `RmsNorm` rounds; bf16 and fp16.
/// @param x [..., width]  @param weight [width]
/// @return [..., width], queued on the current stream; nothing where the kernel does not apply
[[nodiscard]] inline std::optional<at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const auto tensors = detail::normalised_rows(x, {}, weight, eps);
  return tensors ? std::optional(tensors->out) : std::nullopt;
}

/// A residual's sum, and the norm of that.
struct NormalisedSum {
  at::Tensor sum;         // [..., width], rounded
  at::Tensor normalised;  // [..., width]
};

/// x + added and its norm by the same kernel, which reads the sum once.
/// @param x, added [..., width]
/// @return nothing where the kernel does not apply
[[nodiscard]] inline std::optional<NormalisedSum> add_rms_norm(const at::Tensor& x, const at::Tensor& added,
                                                               const at::Tensor& weight, double eps) {
  const auto tensors = detail::normalised_rows(x, added, weight, eps);
  return tensors ? std::optional(NormalisedSum{tensors->sum, tensors->out}) : std::nullopt;
}

}  // namespace lisa::gpu
