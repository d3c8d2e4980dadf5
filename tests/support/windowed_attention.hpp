#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>

#include "lisa/sam/relative_attention.hpp"
#include "lisa/sam/relative_position.hpp"

namespace lisa::test {

/// Queries, keys and values of whole windows of a grid, the last ones padded: [3, B * windows * heads, side * side,
/// head_dim].
/// @param projected [B, h, w, 3 * heads * head_dim]
/// @param padding   [3 * heads * head_dim], what a place outside the grid has
inline at::Tensor attention_windows(const at::Tensor& projected, const at::Tensor& padding, dim head_dim, dim side) {
  const dim batch = projected.size(0), height = projected.size(1), width = projected.size(2);
  const dim rows = (height + side - 1) / side, columns = (width + side - 1) / side;
  at::Tensor padded =
      padding.expand({batch, rows * side, columns * side, projected.size(3)}).clone(at::MemoryFormat::Contiguous);
  padded.narrow(1, 0, height).narrow(2, 0, width).copy_(projected);
  return padded.view({batch, rows, side, columns, side, 3, -1, head_dim})
      .permute({5, 0, 1, 3, 6, 2, 4, 7})
      .reshape({3, -1, side * side, head_dim});
}

/// The grid that windows' outputs [B * windows * heads, side * side, head_dim] are of: [B, h, w, heads * head_dim].
inline at::Tensor grid_of_windows(const at::Tensor& windows, dim batch, dim height, dim width, dim side) {
  const dim rows = (height + side - 1) / side, columns = (width + side - 1) / side;
  return windows.view({batch, rows, columns, -1, side, side, windows.size(-1)})
      .permute({0, 1, 4, 2, 5, 3, 6})
      .reshape({batch, rows * side, columns * side, -1})
      .narrow(1, 0, height)
      .narrow(2, 0, width);
}

/// Attention with decomposed relative positions as the original computes it: the grid padded to whole windows, each of
/// them attended to by ATen's operators, in the tensors' own dtype and on their device.
/// @param rel_h, rel_w [2 * side - 1, head_dim]
/// @return [B, h, w, heads * head_dim]
inline at::Tensor windowed_attention(const at::Tensor& projected, const at::Tensor& padding, const at::Tensor& rel_h,
                                     const at::Tensor& rel_w, dim head_dim, dim side) {
  const at::Tensor windows = attention_windows(projected, padding, head_dim, side);
  const at::Tensor out =
      relative_attention(windows.select(0, 0).view({-1, side, side, head_dim}), windows.select(0, 1),
                         windows.select(0, 2), relative_positions(rel_h, side), relative_positions(rel_w, side));
  return grid_of_windows(out, projected.size(0), projected.size(1), projected.size(2), side);
}

/// Bound on an output's error against exact attention over values that reach `largest` in magnitude, where the
/// softmax's weights and the outputs are rounded to a type of unit roundoff `unit` and all sums are fp32: each weight
/// and the output are off by `unit` at most, the scores' fp32 sums by less than an eighth of that.
inline double attention_bound(double unit, double largest) { return (2 + 0.125) * unit * largest; }

/// The same where nothing is rounded to less than fp32. With u = 2^-24, a score's sums of head_dim products are at most
/// (2 head_dim + 16) u of the sum of their magnitudes away, which is no more than the lengths' products (Cauchy and
/// Schwarz), and a weight is relatively twice as far; each of n keys adds two roundings to the sums and rescales them
/// by an exponential, 4 u away, with one more. The output lies within the values. A factor of 1.05 covers higher
/// orders.
inline double fp32_attention_bound(const at::Tensor& projected, const at::Tensor& padding, const at::Tensor& rel_h,
                                   const at::Tensor& rel_w, dim head_dim, dim side, double largest) {
  const auto longest = [&](const at::Tensor& rows) {
    return rows.reshape({-1, head_dim}).to(at::kDouble).norm(2, {1}).max().item<double>();
  };
  const double row = std::max(longest(projected), longest(padding));
  const double magnitude = row * (row / std::sqrt(static_cast<double>(head_dim)) + longest(rel_h) + longest(rel_w));
  const double roundings =
      2 * static_cast<double>(2 * head_dim + 16) * magnitude + 2 * 7 * static_cast<double>(side * side);
  return 1.05 * roundings * 0x1p-24 * largest;
}

}  // namespace lisa::test
