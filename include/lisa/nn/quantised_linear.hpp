#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/own_kernels.hpp"
#include "lisa/gpu/gemv.hpp"
#include "lisa/nn/dequantise_tensor.hpp"
#include "lisa/quant/dequantise.hpp"
#include "lisa/quant/nf4_gemv.hpp"
#include "lisa/quant/quantised_gemm.hpp"
#include "lisa/quant/quantised_gemv.hpp"
#include "lisa/quant/quantised_matrix.hpp"
#include "lisa/quant/quantised_rows.hpp"

namespace lisa {

/// Whether a weight is a quantised matrix: bytes [Out, row_bytes].
[[nodiscard]] inline bool is_quantised(const at::Tensor& weight) {
  return weight.defined() && weight.scalar_type() == at::kByte && weight.dim() == 2;
}

/// A weight in a quantised format.
/// @param weight [Out, In] in any floating dtype, on the CPU
/// @return bytes [Out, row_bytes]
/// @throws InputError when the format cannot hold rows of that length, see `fits`, or a weight is not finite
[[nodiscard]] inline at::Tensor quantised(const at::Tensor& weight, WeightFormat format) {
  const dim out = weight.size(0), in = weight.size(1);
  if (!fits(format, in))
    throw InputError("weights",
                     found_expected("rows of " + std::to_string(in) + " for " + std::string(to_string(format)),
                                    "longer ones: these take as many bytes in another format"));
  at::Tensor bytes = aten::empty({out, row_bytes(format, in)}, at::kByte);
  auto* const to = reinterpret_cast<std::byte*>(bytes.mutable_data_ptr<std::uint8_t>());
  at::parallel_for(0, out, 64, [&](dim begin, dim end) {
    // Some rows at a time: a whole matrix in fp32 would be twice the checkpoint's.
    for (dim row = begin; row < end; row += 64) {
      const dim last = std::min(end, row + 64);
      const at::Tensor wide = weight.narrow(0, row, last - row).to(at::kFloat).contiguous();
      if (!std::isfinite(wide.abs().max().item<float>()))
        throw InputError("weights", found_expected("NaN or an infinite value", "finite weights to quantise"));
      quantise_rows(format, out, in, wide.const_data_ptr<float>(), row, last, to);
    }
  });
  return bytes;
}

/// The format of a quantised weight on any device, for layers with `in` inputs.
/// @throws InputError when the bytes are in no known format for that width, or not in one piece
[[nodiscard]] inline WeightFormat quantised_format(const at::Tensor& weight, dim in) {
  const auto format = is_quantised(weight) ? format_of(weight.size(1), in) : std::nullopt;
  if (!format || !weight.is_contiguous())
    throw InputError("quantised weight",
                     found_expected(std::to_string(weight.dim() == 2 ? weight.size(1) : 0) + " bytes a row",
                                    "a contiguous matrix in a known format for " + std::to_string(in) + " inputs"));
  return *format;
}

/// A view of a quantised weight for layers with `in` inputs.
/// @throws InputError as `quantised_format`, and when the bytes are not in this machine's memory
[[nodiscard]] inline QuantisedMatrix quantised_matrix(const at::Tensor& weight, dim in) {
  const WeightFormat format = quantised_format(weight, in);
  if (!weight.device().is_cpu())
    throw InputError("quantised weight", found_expected("one on " + weight.device().str(), "one on the CPU"));
  return {format, weight.size(0), in, reinterpret_cast<const std::byte*>(weight.const_data_ptr<std::uint8_t>())};
}

namespace detail {

/// Shares the rows of a weight out to threads. @param columns(begin, end) computes what belongs to those in [begin,
/// end)
template <class Columns>
void in_columns(const QuantisedMatrix& matrix, const Columns& columns) {
  // A thread is worth waking for the time that half a megabyte takes to read.
  const dim grain = std::max<dim>(1, (dim{1} << 19) / row_bytes(matrix.format, matrix.in));
  at::parallel_for(0, matrix.out, grain, columns);
}

/// A bias as the products with quantised weights take it.
[[nodiscard]] inline std::optional<at::Tensor> wide(const std::optional<at::Tensor>& bias) {
  return bias ? std::optional(bias->to(at::kFloat).contiguous()) : std::nullopt;
}

/// x W^T + b for few rows and weights that are integers, in the dtype of Element.
/// @tparam Element float or cpu::Bf16Bits
/// @param x     [rows, in], contiguous
/// @param bias  as `wide` gives it
template <class Element>
[[nodiscard]] at::Tensor quantised_gemv(const at::Tensor& x, const QuantisedMatrix& matrix,
                                        const std::optional<at::Tensor>& bias) {
  static const QuantisedGemv<Element> gemv = find_quantised_gemv<Element>();
  const QuantisedInputs inputs =
      QuantisedInputs::make(matrix.format, static_cast<const Element*>(x.const_data_ptr()), x.size(0), matrix.in);
  const auto* const shifts = bias ? bias->const_data_ptr<float>() : nullptr;
  const at::Tensor y = aten::empty({x.size(0), matrix.out}, x.options());
  auto* const out = static_cast<Element*>(y.mutable_data_ptr());
  in_columns(matrix, [&](dim begin, dim end) { gemv(matrix, inputs, begin, end, shifts, out); });
  return y;
}

/// Rows of NF4 that are multiplied with the weights as they lie there, at most.
inline constexpr dim nf4_gemv_rows = 8;

/// x W^T for few rows of x [rows, in] and NF4: fp32 [rows, out].
[[nodiscard]] inline at::Tensor nf4_gemv(const at::Tensor& x, const QuantisedMatrix& matrix) {
  static const Nf4Dot dot = find_nf4_dot();
  const at::Tensor inputs = x.to(at::kFloat).contiguous();
  const dim rows = inputs.size(0);
  const auto* const values = inputs.const_data_ptr<float>();
  at::Tensor y = aten::empty({rows, matrix.out}, at::kFloat);
  auto* const out = y.mutable_data_ptr<float>();
  in_columns(matrix, [&](dim begin, dim end) {
    std::array<float, nf4_gemv_rows> products{};
    for (dim column = begin; column < end; ++column) {
      dot(matrix, column, values, rows, products.data());
      for (dim row = 0; row < rows; ++row) out[row * matrix.out + column] = products[static_cast<std::size_t>(row)];
    }
  });
  return y;
}

/// x W^T + b for few rows, with the weights as they lie there; nothing for more rows.
/// @param x [rows, in]
[[nodiscard]] inline std::optional<at::Tensor> few_row_product(const at::Tensor& x, const QuantisedMatrix& matrix,
                                                               const std::optional<at::Tensor>& bias) {
  if (matrix.format == WeightFormat::nf4_group64) {
    if (x.size(0) > nf4_gemv_rows) return std::nullopt;
    const at::Tensor y = nf4_gemv(x, matrix);
    return (bias ? y.add(*bias) : y).to(x.scalar_type());
  }
  if (x.size(0) > quantised_gemv_rows()) return std::nullopt;
  if (x.scalar_type() == at::kBFloat16) return quantised_gemv<cpu::Bf16Bits>(x.contiguous(), matrix, wide(bias));
  return quantised_gemv<float>(x.to(at::kFloat).contiguous(), matrix, wide(bias)).to(x.scalar_type());
}

/// Rows of a product that are computed together, at most: their inputs and sums for one block of columns stay in the
/// inner caches, and packing the weights anew for the next ones costs little beside their products.
inline constexpr dim gemm_rows = 384;

/// The same for many rows and weights that are integers, in the dtype of Element.
/// @tparam Element float or cpu::Bf16Bits
/// @param x     [rows, in], contiguous
/// @param bias  fp32 [out], contiguous, or none; added before the only rounding
template <class Element>
[[nodiscard]] at::Tensor quantised_gemm(QuantisedGemm<Element> gemm, const at::Tensor& x, const QuantisedMatrix& matrix,
                                        const std::optional<at::Tensor>& bias) {
  static const RowQuantiser<Element> quantise = find_row_quantiser<Element>();
  const auto* const inputs = static_cast<const Element*>(x.const_data_ptr());
  const auto* const shifts = bias ? bias->const_data_ptr<float>() : nullptr;
  const dim rows = x.size(0), parts = (rows + gemm_rows - 1) / gemm_rows;
  at::Tensor y = aten::empty({rows, matrix.out}, x.options());
  auto* const out = static_cast<Element*>(y.mutable_data_ptr());
  const dim blocks = (matrix.out + gemm_columns - 1) / gemm_columns;
  for (dim part = 0; part < parts; ++part) {
    const dim first = rows * part / parts, count = rows * (part + 1) / parts - first;
    QuantisedRows rounded = QuantisedRows::zeros(matrix.format, count, matrix.in);
    at::parallel_for(0, count, 16,
                     [&](dim begin, dim end) { quantise(inputs + first * matrix.in, begin, end, rounded); });
    at::parallel_for(0, blocks, 1, [&](dim begin, dim end) {
      for (dim block = begin; block < end; ++block)
        gemm(matrix, rounded, block * gemm_columns, std::min(matrix.out, (block + 1) * gemm_columns), shifts,
             out + first * matrix.out);
    });
  }
  return y;
}

/// x W^T + b with integer weights as they lie there, for many rows; nothing where this processor has no such product.
/// @param x [rows, in]
[[nodiscard]] inline std::optional<at::Tensor> integer_product(const at::Tensor& x, const QuantisedMatrix& matrix,
                                                               const std::optional<at::Tensor>& bias) {
  static const auto gemm = find_quantised_gemm<float>();
  static const auto gemm_of_bf16 = find_quantised_gemm<cpu::Bf16Bits>();
  if (gemm == nullptr || matrix.format == WeightFormat::nf4_group64) return std::nullopt;
  if (x.scalar_type() == at::kBFloat16) return quantised_gemm(gemm_of_bf16, x.contiguous(), matrix, wide(bias));
  return quantised_gemm(gemm, x.to(at::kFloat).contiguous(), matrix, wide(bias)).to(x.scalar_type());
}

/// Rows [begin, end) of a weight in fp32 and on its device, [end - begin, in]. @throws InputError as `quantised_format`
[[nodiscard]] inline at::Tensor dequantised_rows(const at::Tensor& weight, dim in, dim begin, dim end) {
  if (!weight.device().is_cpu()) return dequantised_tensor(weight, quantised_format(weight, in), in, begin, end);
  static const RowDequantiser dequantise =
      cpu::own_kernels_enabled() ? find_row_dequantiser() : dequantise_row_portable;
  const QuantisedMatrix matrix = quantised_matrix(weight, in);
  at::Tensor weights = aten::empty({end - begin, matrix.in}, at::kFloat);
  auto* const out = weights.mutable_data_ptr<float>();
  at::parallel_for(begin, end, 16, [&](dim first, dim last) {
    for (dim row = first; row < last; ++row) dequantise(matrix, row, out + (row - begin) * matrix.in);
  });
  return weights;
}

}  // namespace detail

/// x W^T + b with a quantised W. A few rows, and with integer weights any number on a processor with VNNI, are
/// multiplied with the weights as they lie there. On the CPU integers take them rounded to 8 bits in small groups, NF4
/// as they are; on a GPU a kernel takes them as they are, with integers. More rows, what no kernel takes, or a gradient
/// with respect to x, take the weights in x's dtype, some megabytes at a time.
/// @param x       [..., In] in any floating dtype, on the weight's device
/// @param weight  bytes [Out, row_bytes], see `WeightFormat`
/// @param bias    [Out] or none
/// @return        [..., Out] in x's dtype
/// @throws InputError  as `quantised_format`
[[nodiscard]] inline at::Tensor quantised_linear(const at::Tensor& x, const at::Tensor& weight,
                                                 const std::optional<at::Tensor>& bias = std::nullopt) {
  const dim in = x.size(-1), out = weight.size(0);
  static_cast<void>(quantised_format(weight, in));  // what follows takes it for granted
  if (auto y = gpu::gemv(x, weight, bias)) return *std::move(y);
  std::vector<dim> shape = x.sizes().vec();
  shape.back() = out;
  const at::Tensor rows = x.reshape({-1, in});
  const bool on_cpu = x.device().is_cpu() && weight.device().is_cpu();
  const bool records = at::GradMode::is_enabled() && x.requires_grad();
  if (on_cpu && cpu::own_kernels_enabled() && !records) {
    const QuantisedMatrix matrix = quantised_matrix(weight, in);
    if (const auto y = detail::few_row_product(rows, matrix, bias)) return y->view(shape);
    if (const auto y = detail::integer_product(rows, matrix, bias)) return y->view(shape);
  }
  // So many weights that their product keeps all cores busy, so few that they stay in the outer cache. A GPU, which is
  // wider and keeps them in its memory, gets as many as make the launches few.
  const dim part = std::max<dim>(16, (dim{1} << (on_cpu ? 21 : 24)) / in);
  std::vector<at::Tensor> columns;
  for (dim begin = 0; begin < out; begin += part) {
    const dim end = std::min(out, begin + part);
    columns.push_back(aten::linear(rows, detail::dequantised_rows(weight, in, begin, end).to(x.scalar_type())));
  }
  const at::Tensor y = columns.size() == 1 ? columns.front() : aten::cat(columns, 1);
  return (bias ? y.add(*bias) : y).view(shape);
}

}  // namespace lisa
