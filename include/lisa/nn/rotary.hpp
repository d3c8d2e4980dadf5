#pragma once

#include <ATen/core/Tensor.h>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"

namespace lisa {

/// Rotary position embedding (Su et al. 2021) in LLaMA's half-split layout. The angles are fp32 and the table is then
/// rounded to the model's dtype; `inv_freq` buffers of a checkpoint are ignored because mixed files hold rounded ones.
template <dim HeadDim>
struct RotaryEmbedding {
  static_assert(HeadDim > 0 && HeadDim % 2 == 0, "RotaryEmbedding: head_dim must be even");

  at::Tensor cosine;  // [positions, HeadDim]
  at::Tensor sine;    // [positions, HeadDim]

  /// Builds the table for positions 0 .. positions-1.
  static RotaryEmbedding make(dim positions, double theta, const at::TensorOptions& options) {
    const at::TensorOptions wide = options.dtype(at::kFloat);
    const at::Tensor exponent = aten::arange(0, HeadDim, 2, wide).div(static_cast<double>(HeadDim));
    const at::Tensor frequency = aten::pow(theta, exponent).reciprocal();                // [HeadDim / 2]
    const at::Tensor angle = aten::arange(positions, wide).unsqueeze(1).mul(frequency);  // [positions, HeadDim/2]
    const at::Tensor both = aten::cat({angle, angle}, -1);                               // [positions, HeadDim]
    return {both.cos().to(options), both.sin().to(options)};
  }

  /// Rotates x [heads, T, HeadDim] whose rows stand at positions first .. first+T-1.
  [[nodiscard]] at::Tensor rotate(const at::Tensor& x, dim first) const {
    const dim rows = x.size(-2);
    return rotated(x, cosine.narrow(0, first, rows), sine.narrow(0, first, rows));
  }

  /// The table's rows for positions in any order. @param positions int64 [N]
  [[nodiscard]] RotaryEmbedding at_positions(const at::Tensor& positions) const {
    return {cosine.index_select(0, positions), sine.index_select(0, positions)};
  }

  /// x [..., HeadDim] turned by angles whose cosines and sines `c` and `s` broadcast to its shape.
  [[nodiscard]] static at::Tensor rotated(const at::Tensor& x, const at::Tensor& c, const at::Tensor& s) {
    const at::Tensor low = x.narrow(-1, 0, HeadDim / 2);
    const at::Tensor high = x.narrow(-1, HeadDim / 2, HeadDim / 2);
    return x.mul(c).add_(aten::cat({high.neg(), low}, -1).mul(s));
  }
};

}  // namespace lisa
