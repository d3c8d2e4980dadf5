#pragma once

#include <ATen/core/Tensor.h>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"

namespace lisa {

/// A table of relative position vectors with one row for each distance along an axis of `side` coordinates.
/// @param table [L, head_dim], the row of distance 0 in its middle; interpolated linearly when L is not 2 * side - 1
/// @return [2 * side - 1, head_dim], indexed by query - key + side - 1
[[nodiscard]] inline at::Tensor fitted_positions(const at::Tensor& table, dim side) {
  const dim distances = 2 * side - 1;
  if (table.size(0) == distances) return table;
  return aten::upsample_linear1d(table.t().unsqueeze(0), {distances}, /*align_corners=*/false).squeeze(0).t();
}

/// Relative position vectors of every query and key coordinate along one axis (Li et al. 2022, MViTv2; get_rel_pos of
/// segment_anything/modeling/image_encoder.py for queries and keys of one size).
/// @param table [L, head_dim], as for `fitted_positions`
/// @param side coordinates along the axis
/// @return [side, side, head_dim], indexed by query, then key
[[nodiscard]] inline at::Tensor relative_positions(const at::Tensor& table, dim side) {
  const at::Tensor coordinates = aten::arange(side, table.options().dtype(at::kLong));
  const at::Tensor distance = coordinates.unsqueeze(1).sub(coordinates).add(side - 1);  // [side, side]
  return fitted_positions(table, side).index_select(0, distance.flatten()).view({side, side, table.size(1)});
}

}  // namespace lisa
