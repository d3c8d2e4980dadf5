#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/nn/parameter.hpp"

namespace lisa {

/// Layer normalisation over the last dimension with scale and shift.
template <dim N>
struct LayerNorm {
  static_assert(N > 0, "LayerNorm: width must be positive");
  static constexpr dim parameter_count = 2 * N;

  double eps = 1e-5;
  at::Tensor weight{};  // [N]
  at::Tensor bias{};    // [N]

  /// x [..., N] -> [..., N].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const { return aten::layer_norm(x, {N}, weight, bias, eps); }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    visit(scoped(prefix, "weight"), weight, Shape{N});
    visit(scoped(prefix, "bias"), bias, Shape{N});
  }
};

}  // namespace lisa
