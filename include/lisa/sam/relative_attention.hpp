#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"

namespace lisa {

/// Scores held at once by `relative_attention`, in elements: small enough to stay in a core's outer cache.
inline constexpr dim default_score_elements = dim{1} << 20;

namespace detail {

/// Position terms of a block of queries along one axis of the keys, for adding to scores.
/// @param term [..., side]: one value for each coordinate of the axis
/// @param axis 0 where the term depends on the key's row, 1 on its column
/// @return a tensor that broadcasts to [..., side, side]
[[nodiscard]] inline at::Tensor over_keys(const at::Tensor& term, dim axis) {
  const dim side = term.size(-1);
  // Elementwise kernels are slow when the innermost dimension is short, as in windows; the product with a 0-1 matrix,
  // which is exact, writes the repeated values out several times faster than broadcasting reads them.
  constexpr dim short_row = 32;
  if (side >= short_row) return term.unsqueeze(axis == 0 ? -1 : -2);
  const at::Tensor identity = aten::eye(side, term.options());
  const at::Tensor repeated = axis == 0 ? identity.repeat_interleave(side, 1) : identity.repeat({1, side});
  return term.matmul(repeated).unflatten(-1, {side, side});
}

}  // namespace detail

/// Attention over a square of keys with decomposed relative positions:
/// softmax(scale q k^T + q . rel_h[query row, key row] + q . rel_w[query column, key column]) v, where the position
/// terms take the unscaled q. Rounding follows the original (add_decomposed_rel_pos): scaled q, scores, and the scores
/// after each of the two additions are rounded to the tensors' dtype.
/// @param q [N, h, w, d], queries at the first h rows and w columns of the square; contiguous
/// @param k, v [N, side * side, d], contiguous
/// @param rel_h, rel_w [side, side, d] as `relative_positions` gives them
/// @param score_elements bound on the scores held at once; at least one row of queries is computed at a time
/// @return [N, h, w, d]
[[nodiscard]] inline at::Tensor relative_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                   const at::Tensor& rel_h, const at::Tensor& rel_w,
                                                   dim score_elements = default_score_elements) {
  const dim batch = q.size(0), h = q.size(1), w = q.size(2), d = q.size(3), side = rel_h.size(1);
  // Batched over the query's row (column), each against its own [side, d] matrix of relative positions.
  const at::Tensor row_term = q.transpose(0, 1)
                                  .reshape({h, batch * w, d})
                                  .bmm(rel_h.narrow(0, 0, h).transpose(1, 2))
                                  .view({h, batch, w, side})
                                  .transpose(0, 1);  // [N, h, w, side]
  const at::Tensor column_term = q.permute({2, 0, 1, 3})
                                     .reshape({w, batch * h, d})
                                     .bmm(rel_w.narrow(0, 0, w).transpose(1, 2))
                                     .view({w, batch, h, side})
                                     .permute({1, 2, 0, 3});  // [N, h, w, side]
  const at::Tensor scaled = q.mul(1.0 / std::sqrt(static_cast<double>(d)));
  const at::Tensor keys = k.transpose(1, 2);  // [N, d, side * side]

  const dim row_elements = w * side * side;
  const dim rows = std::clamp<dim>(score_elements / row_elements, 1, h);
  const dim items = rows < h ? 1 : std::clamp<dim>(score_elements / (h * row_elements), 1, batch);
  at::Tensor out = aten::empty_like(q);
  for (dim n = 0; n < batch; n += items) {
    const dim ns = std::min(items, batch - n);
    for (dim y = 0; y < h; y += rows) {
      const dim ys = std::min(rows, h - y);
      const auto part = [&](const at::Tensor& t) { return t.narrow(0, n, ns).narrow(1, y, ys); };
      const at::Tensor scores = part(scaled).reshape({ns, ys * w, d}).bmm(keys.narrow(0, n, ns));
      scores.view({ns, ys, w, side, side})
          .add_(detail::over_keys(part(row_term), 0))
          .add_(detail::over_keys(part(column_term), 1));
      part(out).copy_(scores.softmax(-1).bmm(v.narrow(0, n, ns)).view({ns, ys, w, d}));
    }
  }
  return out;
}

}  // namespace lisa
