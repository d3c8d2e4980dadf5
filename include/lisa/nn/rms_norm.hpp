#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <string>
#include <utility>

#include "lisa/config/dim.hpp"
#include "lisa/gpu/rms_norm.hpp"
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
    if (const auto normalised = gpu::rms_norm(x, weight, eps)) return *normalised;
    const at::Tensor wide = x.to(c10::promoteTypes(x.scalar_type(), at::kFloat));
    const at::Tensor scale = wide.square().mean(-1, /*keepdim=*/true).add(eps).rsqrt();  // [..., 1]
    return weight.mul(wide.mul(scale).to(x.scalar_type()));
  }

  /// x + added, a residual's sum, and the norm of that; both [..., N].
  [[nodiscard]] gpu::NormalisedSum forward(const at::Tensor& x, const at::Tensor& added) const {
    if (auto both = gpu::add_rms_norm(x, added, weight, eps)) return *std::move(both);
    at::Tensor sum = x.add(added), normalised = forward(sum);
    return {std::move(sum), std::move(normalised)};
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    visit(scoped(prefix, "weight"), weight, Shape{N});
  }
};

}  // namespace lisa
