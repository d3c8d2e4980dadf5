#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <type_traits>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/mlp.hpp"
#include "lisa/nn/linear.hpp"

namespace lisa {

enum class Activation {
  relu,
  gelu,  ///< the exact one, with the error function
};

/// A perceptron of `M.layers` linear layers with an activation between them. Parameters are named as in a
/// torch.nn.Sequential that holds layers and activations in turn: 0, 2, 4, ...
template <dim In, dim Out, MlpConfig M, Activation A>
struct Mlp {
  static_assert(M.layers >= 1, "Mlp: layers must be at least 1");
  static_assert(M.layers == 1 || M.hidden > 0, "Mlp: hidden must be positive");
  static constexpr dim in_features = In;
  static constexpr dim out_features = Out;
  static constexpr dim parameter_count = parameters(In, Out, M);
  static constexpr dim width = M.layers == 1 ? Out : M.hidden;  ///< of the first layer's output

  struct None {
    [[nodiscard]] at::Tensor forward(const at::Tensor& x) const { return x; }
  };

  Linear<In, width> first;
  std::vector<Linear<width, width>> middle = std::vector<Linear<width, width>>(M.layers > 2 ? M.layers - 2 : 0);
  std::conditional_t<(M.layers > 1), Linear<width, Out>, None> last;

  /// x [..., In] -> [..., Out].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const {
    at::Tensor y = first.forward(x);
    if constexpr (M.layers > 1) {
      for (const auto& layer : middle) y = layer.forward(activate(y));
      y = last.forward(activate(y));
    }
    return y;
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    first.for_each_parameter(scoped(prefix, "0"), visit);
    for (std::size_t i = 0; i < middle.size(); ++i)
      middle[i].for_each_parameter(scoped(prefix, std::to_string(2 * (i + 1))), visit);
    if constexpr (M.layers > 1) last.for_each_parameter(scoped(prefix, std::to_string(2 * (M.layers - 1))), visit);
  }

 private:
  static at::Tensor activate(const at::Tensor& x) {
    if constexpr (A == Activation::relu) return x.relu();
    return aten::gelu(x);
  }
};

}  // namespace lisa
