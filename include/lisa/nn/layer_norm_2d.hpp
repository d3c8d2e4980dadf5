#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/nn/parameter.hpp"

namespace lisa {

/// SAM's LayerNorm2d: normalises every position of a feature map over its channels. Feature maps are held channels
/// last, so it works on the last dimension (segment_anything/modeling/common.py works on dimension 1).
template <dim N>
struct LayerNorm2d {
  static_assert(N > 0, "LayerNorm2d: width must be positive");
  static constexpr dim parameter_count = 2 * N;

  double eps = 1e-6;
  at::Tensor weight{};  // [N]
  at::Tensor bias{};    // [N]

  /// x [..., N] -> [..., N].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const {
    if (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble) {
      return aten::layer_norm(x, {N}, weight, bias, eps);
    }
    // In reduced precision the original rounds after every step, which a fused normalisation would not reproduce.
    const at::Tensor centred = x.sub(x.mean(-1, /*keepdim=*/true));
    const at::Tensor variance = centred.pow(2).mean(-1, /*keepdim=*/true);
    return centred.div(variance.add(eps).sqrt()).mul(weight).add(bias);
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    visit(scoped(prefix, "weight"), weight, Shape{N});
    visit(scoped(prefix, "bias"), bias, Shape{N});
  }
};

}  // namespace lisa
