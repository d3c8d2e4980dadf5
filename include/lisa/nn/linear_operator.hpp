#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/cpu/gemv.hpp"
#include "lisa/cpu/own_kernels.hpp"
#include "lisa/gpu/gemv.hpp"
#include "lisa/nn/quantised_linear.hpp"

namespace lisa {
namespace detail {

/// Rows up to which reading the weights once bounds the time of a product: the steps of text generation.
inline constexpr dim gemv_rows = 4;

[[nodiscard]] inline const cpu::Bf16Bits* bf16_bits(const at::Tensor& tensor) {
  return reinterpret_cast<const cpu::Bf16Bits*>(tensor.const_data_ptr<at::BFloat16>());
}

[[nodiscard]] inline bool is_plain_bf16(const at::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.scalar_type() == at::kBFloat16 &&
         !(at::GradMode::is_enabled() && tensor.requires_grad());
}

/// Whether own kernels take this product: few rows of bf16 on a CPU, and no gradient asked for.
[[nodiscard]] inline bool is_gemv(const at::Tensor& x, const at::Tensor& weight,
                                  const std::optional<at::Tensor>& bias) {
  return is_plain_bf16(x) && is_plain_bf16(weight) && weight.is_contiguous() && weight.numel() > 0 && x.dim() > 0 &&
         x.size(-1) == weight.size(1) && x.numel() > 0 && x.numel() <= gemv_rows * weight.size(1) &&
         (!bias || (is_plain_bf16(*bias) && bias->is_contiguous()));
}

[[nodiscard]] inline at::Tensor gemv(cpu::Bf16Dot dot, const at::Tensor& x, const at::Tensor& weight,
                                     const std::optional<at::Tensor>& bias) {
  std::vector<dim> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  at::Tensor y = aten::empty(shape, x.options());
  const at::Tensor rows = x.contiguous();
  const cpu::Bf16Gemv product{.x = bf16_bits(rows),
                              .weight = bf16_bits(weight),
                              .bias = bias ? bf16_bits(*bias) : nullptr,
                              .y = reinterpret_cast<cpu::Bf16Bits*>(y.mutable_data_ptr<at::BFloat16>()),
                              .rows = x.numel() / weight.size(1),
                              .inner = weight.size(1),
                              .columns = weight.size(0)};
  // A thread is worth waking for the time that half a megabyte takes to read.
  const dim grain = std::max<dim>(1, (dim{1} << 18) / product.inner);
  at::parallel_for(0, product.columns, grain, [&](dim begin, dim end) { product.run(dot, begin, end); });
  return y;
}

}  // namespace detail

/// x W^T + b; the one way into matrix products with weights.
/// @param x       [..., In]
/// @param weight  [Out, In], of x's dtype; or quantised, see `quantised_linear`
/// @param bias    [Out] or none
/// @return        [..., Out]; bf16 sums are fp32 and rounded once, in an order that depends on the kernel
[[nodiscard]] inline at::Tensor apply_linear(const at::Tensor& x, const at::Tensor& weight,
                                             const std::optional<at::Tensor>& bias = std::nullopt) {
  if (is_quantised(weight)) return quantised_linear(x, weight, bias);
  static const cpu::Bf16Dot dot = cpu::own_kernels_enabled() ? cpu::find_bf16_dot() : nullptr;
  if (dot != nullptr && detail::is_gemv(x, weight, bias)) return detail::gemv(dot, x, weight, bias);
  if (auto y = gpu::gemv(x, weight, bias)) return *std::move(y);
  return aten::linear(x, weight, bias);
}

/// residual + x W^T; a GPU's kernel adds before the only rounding.
/// @param residual [..., Out]  @param x [..., In]  @param weight as for `apply_linear`
[[nodiscard]] inline at::Tensor add_linear(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight) {
  if (auto y = gpu::gemv(x, weight, residual)) return *std::move(y);
  return residual.add(apply_linear(x, weight));
}

}  // namespace lisa
