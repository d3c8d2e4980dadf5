#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/bmm.h>

#include "lisa/config/dim.hpp"

namespace lisa::gpu_bench {

/// Position terms of every query and key as the one mask that `scaled_dot_product_attention` takes.
/// @param q             [N, side, side, d]
/// @param rel_h, rel_w  [side, side, d] as `relative_positions` gives them
/// @return              [N, 1, side * side, side * side]
inline at::Tensor dense_bias(const at::Tensor& q, const at::Tensor& rel_h, const at::Tensor& rel_w) {
  const dim n = q.size(0), side = q.size(1), d = q.size(3);
  const at::Tensor row_term = at::bmm(q.transpose(0, 1).reshape({side, n * side, d}), rel_h.transpose(1, 2))
                                  .view({side, n, side, side})
                                  .transpose(0, 1);
  const at::Tensor column_term = at::bmm(q.permute({2, 0, 1, 3}).reshape({side, n * side, d}), rel_w.transpose(1, 2))
                                     .view({side, n, side, side})
                                     .permute({1, 2, 0, 3});
  return row_term.unsqueeze(-1).add(column_term.unsqueeze(-2)).reshape({n, 1, side * side, side * side});
}

}  // namespace lisa::gpu_bench
