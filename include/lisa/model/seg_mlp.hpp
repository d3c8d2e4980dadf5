#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "lisa/config/mlp.hpp"
#include "lisa/nn/mlp.hpp"

namespace lisa {

/// The paper's gamma, `text_hidden_fcs`: maps the hidden state of a `[SEG]` to a prompt of the mask decoder
/// (LISA model/LISA.py). Trained.
template <dim In, dim Out, MlpConfig M>
struct SegMlp {
  static constexpr dim in_features = In;
  static constexpr dim out_features = Out;
  static constexpr dim parameter_count = parameters(In, Out, M);

  Mlp<In, Out, M, Activation::relu> mlp;

  /// hidden [N, In] -> prompts [N, Out].
  [[nodiscard]] at::Tensor forward(const at::Tensor& hidden) const { return mlp.forward(hidden); }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    mlp.for_each_parameter(prefix, visit);
  }
};

}  // namespace lisa
