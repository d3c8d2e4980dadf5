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
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/few_row_product.hpp"
#include "lisa/cpu/gemm.hpp"
#include "lisa/cpu/gemv.hpp"
#include "lisa/cpu/matrix_product.hpp"
#include "lisa/cpu/own_kernels.hpp"
#include "lisa/gpu/gemv.hpp"
#include "lisa/nn/quantised_linear.hpp"

namespace lisa {
namespace detail {

/// Rows up to which dot products, one after the other, are the quickest way without a kernel for few rows.
inline constexpr dim gemv_rows = 4;

[[nodiscard]] inline bool is_plain(const at::Tensor& tensor, at::ScalarType dtype) {
  return tensor.device().is_cpu() && tensor.scalar_type() == dtype &&
         !(at::GradMode::is_enabled() && tensor.requires_grad());
}

/// Whether own kernels may take this product: one dtype, on a CPU, in order, and no gradient asked for.
[[nodiscard]] inline bool is_plain_product(const at::Tensor& x, const at::Tensor& weight,
                                           const std::optional<at::Tensor>& bias) {
  const at::ScalarType dtype = x.scalar_type();
  return is_plain(x, dtype) && is_plain(weight, dtype) && weight.dim() == 2 && weight.is_contiguous() &&
         weight.numel() > 0 && x.dim() > 0 && x.size(-1) == weight.size(1) && x.numel() > 0 &&
         (!bias || (is_plain(*bias, dtype) && bias->is_contiguous()));
}

/// The elements of a tensor as the kernels name them. @tparam Element cpu::Bf16Bits or float
template <class Element>
[[nodiscard]] const Element* kernel_elements(const at::Tensor& tensor) {
  return static_cast<const Element*>(tensor.const_data_ptr());
}

/// @param x [rows, inner], contiguous  @param y [..., columns]; other operands as `is_plain_product` accepts them
template <class Element>
[[nodiscard]] cpu::MatrixProduct<Element> product_of(const at::Tensor& x, const at::Tensor& weight,
                                                     const std::optional<at::Tensor>& bias, const at::Tensor& y) {
  return {.x = kernel_elements<Element>(x),
          .weight = kernel_elements<Element>(weight),
          .bias = bias ? kernel_elements<Element>(*bias) : nullptr,
          .y = static_cast<Element*>(y.mutable_data_ptr()),
          .rows = x.numel() / weight.size(1),
          .inner = weight.size(1),
          .columns = weight.size(0)};
}

/// Shares the columns of a product out to threads. @param columns(begin, end) computes those in [begin, end)
template <class Columns>
void in_columns(const cpu::MatrixProduct<cpu::Bf16Bits>& product, const Columns& columns) {
  // A thread is worth waking for the time that half a megabyte takes to read.
  const dim grain = std::max<dim>(1, (dim{1} << 18) / product.inner);
  at::parallel_for(0, product.columns, grain, columns);
}

template <class Element>
void gemm(cpu::GemmKernel<Element> kernel, const cpu::MatrixProduct<Element>& product) {
  constexpr dim row_unit = 48, column_unit = cpu::gemm_columns;
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

/// A kernel for all of a product.
template <class Element>
using PlainProduct = void (*)(const cpu::MatrixProduct<Element>&);

/// The kernel for products in bf16 of that size; nullptr where ATen's is as quick or there is none.
[[nodiscard]] inline PlainProduct<cpu::Bf16Bits> plain_product_of_bf16(dim rows, dim inner) {
  using Product = cpu::MatrixProduct<cpu::Bf16Bits>;
  static const cpu::Bf16Dot dot = cpu::find_bf16_dot();
  static const cpu::FewRowProduct few_rows = cpu::find_few_row_product();
  static const auto many_rows = cpu::find_gemm<cpu::Bf16Bits>();
  if (few_rows != nullptr && cpu::is_of_few_rows(rows, inner))
    return [](const Product& p) { in_columns(p, [&](dim begin, dim end) { few_rows(p, begin, end); }); };
  if (dot != nullptr && rows <= gemv_rows)
    return [](const Product& p) { in_columns(p, [&](dim begin, dim end) { cpu::bf16_gemv(p, dot, begin, end); }); };
  if (many_rows != nullptr && cpu::gemm_takes<cpu::Bf16Bits>(inner))
    return [](const Product& p) { gemm(many_rows, p); };
  return nullptr;
}

/// The same in fp32.
[[nodiscard]] inline PlainProduct<float> plain_product_of_fp32(dim rows) {
  static const auto many_rows = cpu::find_gemm<float>();
  if (many_rows == nullptr || rows == 1) return nullptr;
  return [](const cpu::MatrixProduct<float>& p) { gemm(many_rows, p); };
}

/// x W^T + b by that kernel; nothing without one.
template <class Element>
[[nodiscard]] std::optional<at::Tensor> product_by(PlainProduct<Element> kernel, const at::Tensor& x,
                                                   const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  if (kernel == nullptr) return std::nullopt;
  std::vector<dim> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  const at::Tensor rows = x.contiguous(), y = aten::empty(shape, x.options());
  kernel(product_of<Element>(rows, weight, bias, y));
  return y;
}

/// x W^T + b by an own kernel; nothing where ATen's product is as quick or no kernel takes it.
[[nodiscard]] inline std::optional<at::Tensor> plain_product(const at::Tensor& x, const at::Tensor& weight,
                                                             const std::optional<at::Tensor>& bias) {
  const dim inner = weight.size(1), rows = x.numel() / inner;
  if (x.scalar_type() == at::kBFloat16) return product_by(plain_product_of_bf16(rows, inner), x, weight, bias);
  if (x.scalar_type() == at::kFloat) return product_by(plain_product_of_fp32(rows), x, weight, bias);
  return std::nullopt;
}

}  // namespace detail

/// x W^T + b; the one way into matrix products with weights.
/// @param x       [..., In]
/// @param weight  [Out, In], of x's dtype; or quantised, see `quantised_linear`
/// @param bias    [Out] or none
/// @return        [..., Out]; sums are fp32 and rounded once, in an order that depends on the kernel
[[nodiscard]] inline at::Tensor apply_linear(const at::Tensor& x, const at::Tensor& weight,
                                             const std::optional<at::Tensor>& bias = std::nullopt) {
  if (is_quantised(weight)) return quantised_linear(x, weight, bias);
  if (cpu::own_kernels_enabled() && detail::is_plain_product(x, weight, bias))
    if (auto y = detail::plain_product(x, weight, bias)) return *std::move(y);
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
