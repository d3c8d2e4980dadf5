#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/cpu/gemm.hpp"
#include "lisa/cpu/gemv.hpp"
#include "lisa/cpu/own_kernels.hpp"
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

/// Whether own kernels may take this product: bf16 on a CPU, in order, and no gradient asked for.
[[nodiscard]] inline bool is_plain_product(const at::Tensor& x, const at::Tensor& weight,
                                           const std::optional<at::Tensor>& bias) {
  return is_plain_bf16(x) && is_plain_bf16(weight) && weight.is_contiguous() && weight.numel() > 0 && x.dim() > 0 &&
         x.size(-1) == weight.size(1) && x.numel() > 0 && (!bias || (is_plain_bf16(*bias) && bias->is_contiguous()));
}

/// A product for an own kernel, with what holds its operands that are not the weights.
struct PlainProduct {
  at::Tensor x;  // [rows, inner]
  at::Tensor y;  // [..., columns]
  cpu::Bf16Product operands;
};

/// @param x, weight, bias as `is_plain_product` accepts them; weight and bias must outlive the result
[[nodiscard]] inline PlainProduct plain_product(const at::Tensor& x, const at::Tensor& weight,
                                                const std::optional<at::Tensor>& bias) {
  std::vector<dim> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  const at::Tensor rows = x.contiguous(), y = aten::empty(shape, x.options());
  return {rows,
          y,
          {.x = bf16_bits(rows),
           .weight = bf16_bits(weight),
           .bias = bias ? bf16_bits(*bias) : nullptr,
           .y = reinterpret_cast<cpu::Bf16Bits*>(y.mutable_data_ptr<at::BFloat16>()),
           .rows = x.numel() / weight.size(1),
           .inner = weight.size(1),
           .columns = weight.size(0)}};
}

inline void gemv(cpu::Bf16Dot dot, const cpu::Bf16Product& product) {
  // A thread is worth waking for the time that half a megabyte takes to read.
  const dim grain = std::max<dim>(1, (dim{1} << 18) / product.inner);
  at::parallel_for(0, product.columns, grain, [&](dim begin, dim end) { cpu::bf16_gemv(product, dot, begin, end); });
}

inline void gemm(cpu::Bf16GemmKernel kernel, const cpu::Bf16Product& product) {
  constexpr dim row_unit = 48, column_unit = cpu::bf16_gemm_columns;
  const dim rows = product.rows, columns = product.columns, threads = at::get_num_threads();
  const dim row_units = (rows + row_unit - 1) / row_unit, column_units = (columns + column_unit - 1) / column_unit;
  // A thread is worth waking for the time that a million products take.
  const auto grain = [&](dim of_unit) { return std::max<dim>(1, (dim{1} << 20) / of_unit); };
  // Threads share the columns, so that each lays out weights of its own, unless there are too few for equal shares.
  if (column_units % threads == 0 || column_units >= 4 * threads || row_units < threads)
    at::parallel_for(0, column_units, grain(rows * product.inner * column_unit), [&](dim begin, dim end) {
      kernel(product, {0, rows, begin * column_unit, std::min(columns, end * column_unit)});
    });
  else
    at::parallel_for(0, row_units, grain(row_unit * product.inner * columns), [&](dim begin, dim end) {
      kernel(product, {begin * row_unit, std::min(rows, end * row_unit), 0, columns});
    });
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
  static const cpu::Bf16GemmKernel kernel = cpu::own_kernels_enabled() ? cpu::find_bf16_gemm() : nullptr;
  if (!detail::is_plain_product(x, weight, bias)) return aten::linear(x, weight, bias);
  const bool few = x.numel() <= detail::gemv_rows * weight.size(1);
  if (few ? dot == nullptr : kernel == nullptr || !cpu::bf16_gemm_takes(weight.size(1)))
    return aten::linear(x, weight, bias);
  const detail::PlainProduct product = detail::plain_product(x, weight, bias);
  if (few)
    detail::gemv(dot, product.operands);
  else
    detail::gemm(kernel, product.operands);
  return product.y;
}

}  // namespace lisa
