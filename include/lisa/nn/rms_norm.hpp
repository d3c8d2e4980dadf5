#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <string>

#include "lisa/config/dim.hpp"
#include "lisa/nn/parameter.hpp"

namespace lisa {

/// Root-mean-square normalisation over the last dimension (Zhang and Sennrich 2019). The statistics are at least fp32
/// and the normalised value is rounded to the input's dtype before the scale, as LLaMA's reference does it.
template <dim N>
struct RmsNorm {
  static_assert(N > 0, "RmsNorm: width must be positive");
  static constexpr dim parameter_count = N;

  double eps = 1e-6;
  at::Tensor weight;  // [N]

  /// x [..., N] -> [..., N], in x's dtype.
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const {
    const at::Tensor wide = x.to(c10::promoteTypes(x.scalar_type(), at::kFloat));
    const at::Tensor scale = wide.square().mean(-1, /*keepdim=*/true).add(eps).rsqrt();  // [..., 1]
    return weight.mul(wide.mul(scale).to(x.scalar_type()));
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    visit(scoped(prefix, "weight"), weight, Shape{N});
  }
};

}  // namespace lisa
