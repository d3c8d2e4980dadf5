#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/quant/weight_format.hpp"

/// The formats of quantised weights taken apart by tensor operations, for weights on any device.
namespace lisa {
namespace detail {

/// Bytes as two values of 4 bits: [..., n] -> [..., 2, n], the low halves first.
[[nodiscard]] inline at::Tensor nibbles(const at::Tensor& bytes) {
  return aten::stack({bytes.bitwise_and(15), bytes.bitwise_right_shift(4)}, -2);
}

/// A block of int4: four vectors of `lanes` words of four bytes, a lane for each run of 32 inputs.
/// @param bytes [rows, blocks, 16 * lanes]
/// @return codes [rows, blocks * lanes * 32] in the order of the inputs
[[nodiscard]] inline at::Tensor int4_codes(const at::Tensor& bytes, dim lanes) {
  const dim rows = bytes.size(0), blocks = bytes.size(1);
  return nibbles(bytes.reshape({rows, blocks, 4, lanes, 4}))  // [rows, blocks, vector, lane, half, k]
      .permute({0, 1, 3, 4, 2, 5})
      .reshape({rows, blocks * lanes * nibble_run});
}

/// @param bytes [rows, value_bytes]
/// @return codes [rows, 2 * value_bytes], those behind a row's last weight too
[[nodiscard]] inline at::Tensor int4_codes(const at::Tensor& bytes) {
  constexpr dim block = int4_block / 2, run = nibble_run / 2;  // bytes
  const dim whole = bytes.size(1) / block * block, rest = bytes.size(1) - whole;
  std::vector<at::Tensor> parts;
  if (whole > 0)
    parts.push_back(int4_codes(bytes.narrow(1, 0, whole).unflatten(1, {whole / block, block}), block / run));
  if (rest > 0) parts.push_back(int4_codes(bytes.narrow(1, whole, rest).unsqueeze(1), rest / run));
  return parts.size() == 1 ? parts.front() : aten::cat(parts, 1);
}

/// The same of NF4, whose runs lie one after another.
[[nodiscard]] inline at::Tensor nf4_codes(const at::Tensor& bytes) {
  return nibbles(bytes.unflatten(1, {-1, nibble_run / 2})).flatten(1);
}

/// Weights in units of their scales, fp32 [rows, at least in].
/// @param bytes [rows, value_bytes]
[[nodiscard]] inline at::Tensor weight_levels(WeightFormat format, const at::Tensor& bytes) {
  if (format == WeightFormat::int8_row) return bytes.view(at::kChar).to(at::kFloat);
  if (format != WeightFormat::nf4_group64) return int4_codes(bytes).to(at::kFloat).sub_(8);
  const at::Tensor levels =
      at::tensor(at::ArrayRef<float>(nf4_levels.data(), nf4_levels.size()), at::kFloat).to(bytes.device());
  const at::Tensor codes = nf4_codes(bytes);
  return levels.index_select(0, codes.flatten().to(at::kInt)).view(codes.sizes());
}

/// The scale of every weight, or one for all of a row: fp32 [rows, in] or [rows, 1].
/// @param bytes [rows, scale_bytes]
[[nodiscard]] inline at::Tensor weight_scales(WeightFormat format, const at::Tensor& bytes, dim in) {
  const at::Tensor aligned = bytes.clone();  // where the values end there may be no multiple of a number's size
  if (format == WeightFormat::int8_row) return aligned.view(at::kFloat);
  const at::Tensor scales = aligned.view(at::kBFloat16).to(at::kFloat);  // [rows, groups]
  const dim group = group_size(format, in);
  return scales.unsqueeze(2).expand({scales.size(0), scales.size(1), group}).flatten(1).narrow(1, 0, in);
}

}  // namespace detail

/// Rows [begin, end) of a quantised weight in fp32, on the weight's device: what `QuantisedMatrix::value` says, to the
/// bit.
/// @param weight bytes [Out, row_bytes], contiguous
/// @param in     weights of a row
/// @return       [end - begin, in]
[[nodiscard]] inline at::Tensor dequantised_tensor(const at::Tensor& weight, WeightFormat format, dim in, dim begin,
                                                   dim end) {
  const dim out = weight.size(0), of_values = value_bytes(format, in), of_scales = scale_bytes(format, in);
  const at::Tensor bytes = weight.flatten();
  const auto rows = [&](dim first, dim row_bytes) {
    return bytes.narrow(0, first + begin * row_bytes, (end - begin) * row_bytes).view({end - begin, row_bytes});
  };
  const at::Tensor levels = detail::weight_levels(format, rows(0, of_values)).narrow(1, 0, in);
  return levels.mul(detail::weight_scales(format, rows(out * of_values, of_scales), in));
}

}  // namespace lisa
