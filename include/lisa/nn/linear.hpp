#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "lisa/config/dim.hpp"
#include "lisa/nn/linear_operator.hpp"
#include "lisa/nn/parameter.hpp"

namespace lisa {

enum class Bias : bool { no, yes };

/// y = x W^T + b.  @tparam In width of x  @tparam Out width of y  @tparam B whether b exists
template <dim In, dim Out, Bias B = Bias::yes>
struct Linear {
  static_assert(In > 0 && Out > 0, "Linear: input and output width must be positive");
  static constexpr dim in_features = In;
  static constexpr dim out_features = Out;
  static constexpr dim parameter_count = In * Out + (B == Bias::yes ? Out : 0);

  at::Tensor weight;  // [Out, In]
  at::Tensor bias;    // [Out], undefined without bias

  /// x [..., In] -> [..., Out], in x's dtype, which must be the weight's.
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const { return apply_linear(x, weight, bias_or_none()); }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    visit(scoped(prefix, "weight"), weight, Shape{Out, In});
    if constexpr (B == Bias::yes) visit(scoped(prefix, "bias"), bias, Shape{Out});
  }

 private:
  [[nodiscard]] std::optional<at::Tensor> bias_or_none() const {
    if constexpr (B == Bias::yes) return bias;
    return std::nullopt;
  }
};

}  // namespace lisa
