#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/kernel_choice.hpp"
#include "lisa/gpu/kernels.hpp"
#include "lisa/gpu/tensor_arguments.hpp"
#include "lisa/quant/weight_format.hpp"

namespace lisa::gpu {

/// How the kernel reads a weight for `in` inputs; nothing where it can't.
/// @param weight [Out, in] of the inputs' dtype, or bytes [Out, row_bytes] in a `WeightFormat`
[[nodiscard]] inline std::optional<cuda::WeightStorage> weight_storage(const at::Tensor& weight, dim in) {
  if (weight.dim() != 2 || !weight.is_contiguous()) return std::nullopt;
  if (weight.scalar_type() != at::kByte)
    return weight.size(1) == in ? std::optional(cuda::WeightStorage::element) : std::nullopt;
  const std::optional<WeightFormat> format = format_of(weight.size(1), in);
  if (!format) return std::nullopt;
  switch (*format) {
    case WeightFormat::int8_row:
      return cuda::WeightStorage::int8_row;
    case WeightFormat::int4_group32:
      return cuda::WeightStorage::int4_group32;
    case WeightFormat::int4_group128:
      return cuda::WeightStorage::int4_group128;
    case WeightFormat::nf4_group64:
      break;
  }
  return std::nullopt;
}

/// Rows that the kernel is asked for. Where the weights are as they are, a matrix product of tensor cores reads no more
/// than the kernel does, and computes faster; quantised ones it would have to restore first.
[[nodiscard]] constexpr dim gemv_rows(cuda::WeightStorage storage) {
  return storage == cuda::WeightStorage::element ? 4 : 8;
}

/// A product of few rows.
struct GemvTensors {
  at::Tensor x;       // [rows, in], contiguous
  at::Tensor weight;  // see `weight_storage`
  at::Tensor up;      // a second one, for silu(x weight^T) * (x up^T); or undefined
  at::Tensor added;   // [Out] or [rows, Out], contiguous; or undefined
};

/// Fills the arguments from tensors on any device, x and `added` of Element; without the result's address.
/// @param storage of the weights
template <class Element>
[[nodiscard]] cuda::GemvArguments<Element> gemv_arguments(const GemvTensors& tensors, cuda::WeightStorage storage) {
  const auto matrix = [](const at::Tensor& weight) {
    return cuda::WeightMatrix{.bytes = elements_of<std::byte>(weight), .out = kernel_extent(weight.size(0))};
  };
  cuda::GemvArguments<Element> arguments{};
  arguments.x = elements_of<Element>(tensors.x);
  arguments.x_stride = tensors.x.size(1);
  arguments.rows = kernel_extent(tensors.x.size(0));
  arguments.in = kernel_extent(tensors.x.size(1));
  arguments.storage = storage;
  arguments.result = tensors.up.defined() ? cuda::GemvResult::gated : cuda::GemvResult::sum;
  arguments.weights[0] = matrix(tensors.weight);
  if (tensors.up.defined()) arguments.weights[1] = matrix(tensors.up);
  arguments.out[0].stride = tensors.weight.size(0);
  if (tensors.added.defined()) {
    arguments.residual = elements_of<Element>(tensors.added);
    arguments.residual_stride = tensors.added.dim() == 1 ? 0 : tensors.added.size(1);
  }
  return arguments;
}

namespace detail {

/// @return [rows, Out]
template <class Element>
[[nodiscard]] std::optional<at::Tensor> launch_few_rows_product(const GemvTensors& tensors,
                                                                cuda::WeightStorage storage) {
  if constexpr (kernels_linked) {
    auto arguments = gemv_arguments<Element>(tensors, storage);
    if (cuda::gemv_refusal(arguments) != nullptr) return std::nullopt;
    at::Tensor out = aten::empty({tensors.x.size(0), tensors.weight.size(0)}, tensors.x.options());
    arguments.out[0].begin = mutable_elements_of<Element>(out);
    launch_on_current_stream(out.device(), "gemv", [&](auto stream) { return launch_gemv(arguments, stream); });
    return out;
  }
  return std::nullopt;
}

/// What decides about a weight: its bytes say nothing of the inputs' dtype.
[[nodiscard]] inline KernelOperand weight_operand(const at::Tensor& weight, const at::Tensor& x) {
  if (weight.scalar_type() == at::kByte) return {weight.device(), x.scalar_type(), false};
  return kernel_operand(weight);
}

/// What is added as the kernel takes it: a bias [Out], a residual as [rows, Out], or nothing of it; no value where it
/// is none of them.
/// @param result extents of the product, [..., Out]
[[nodiscard]] inline std::optional<at::Tensor> added_rows(const at::Tensor& added, at::IntArrayRef result) {
  if (!added.defined()) return added;
  if (added.sizes() == result.slice(result.size() - 1)) return added.contiguous();
  if (added.sizes() != result) return std::nullopt;
  return added.reshape({-1, result.back()}).contiguous();
}

/// Whether the kernel is asked, apart from shapes.
/// @param tensors all but x
[[nodiscard]] inline bool gemv_applies(const at::Tensor& x, const GemvTensors& tensors) {
  return kernels_apply({kernel_operand(x), weight_operand(tensors.weight, x),
                        weight_operand(tensors.up.defined() ? tensors.up : tensors.weight, x),
                        kernel_operand(tensors.added.defined() ? tensors.added : x)});
}

/// @param x [..., in]  @param tensors all but x
[[nodiscard]] inline std::optional<at::Tensor> few_rows_product(const at::Tensor& x, GemvTensors tensors) {
  if (!gemv_applies(x, tensors) || x.dim() == 0 || x.numel() == 0) return std::nullopt;
  const dim in = x.size(-1);
  const auto storage = weight_storage(tensors.weight, in);
  if (!storage || x.numel() > gemv_rows(*storage) * in) return std::nullopt;
  if (tensors.up.defined() && weight_storage(tensors.up, in) != storage) return std::nullopt;
  std::vector<dim> shape = x.sizes().vec();
  shape.back() = tensors.weight.size(0);
  const auto added = added_rows(tensors.added, shape);
  if (!added) return std::nullopt;
  tensors.added = *added;
  tensors.x = x.reshape({-1, in}).contiguous();
  const auto out = x.scalar_type() == at::kBFloat16 ? launch_few_rows_product<cuda::Bf16>(tensors, *storage)
                   : x.scalar_type() == at::kHalf   ? launch_few_rows_product<cuda::Fp16>(tensors, *storage)
                                                    : std::nullopt;
  return out ? std::optional(out->view(shape)) : std::nullopt;
}

}  // namespace detail

/// x W^T + what is added, of few rows of bf16 or fp16, by a CUDA kernel that reads the weights once, as they lie there;
/// the sums are fp32 and rounded once.
/// @param x      [..., In]
/// @param weight [Out, In] of x's dtype; or bytes [Out, row_bytes] of integers, see `WeightFormat`
/// @param added  of x's dtype: a bias [Out], a residual [..., Out], or none
/// @return       [..., Out], queued on the current stream; nothing where the kernel does not apply
[[nodiscard]] inline std::optional<at::Tensor> gemv(const at::Tensor& x, const at::Tensor& weight,
                                                    const std::optional<at::Tensor>& added = std::nullopt) {
  return detail::few_rows_product(x, {.x = {}, .weight = weight, .up = {}, .added = added ? *added : at::Tensor()});
}

/// silu(x G^T) * (x U^T) by the same kernel, without a rounding in between.
/// @param gate, up [Out, In] as for `gemv`, both in one format
/// @return [..., Out]; nothing where the kernel does not apply
[[nodiscard]] inline std::optional<at::Tensor> gated_gemv(const at::Tensor& x, const at::Tensor& gate,
                                                          const at::Tensor& up) {
  return detail::few_rows_product(x, {.x = {}, .weight = gate, .up = up, .added = {}});
}

}  // namespace lisa::gpu
