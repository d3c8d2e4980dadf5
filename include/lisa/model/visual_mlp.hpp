#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "lisa/config/mlp.hpp"
#include "lisa/nn/mlp.hpp"

namespace lisa {

/// LLaVA's mm_projector: maps vision features to rows of the language model. One layer is LISA's single linear map,
/// two are LLaVA-1.5's mlp2x_gelu. Frozen in LISA's recipe.
template <dim In, dim Out, MlpConfig M>
struct VisualMlp {
  static constexpr dim in_features = In;
  static constexpr dim out_features = Out;
  static constexpr dim parameter_count = parameters(In, Out, M);

  Mlp<In, Out, M, Activation::gelu> mlp;

  /// features [B, tokens, In] -> [B, tokens, Out].
  [[nodiscard]] at::Tensor forward(const at::Tensor& features) const { return mlp.forward(features); }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    // A single layer is a bare nn.Linear in the checkpoints, without the Sequential's index.
    if constexpr (M.layers == 1)
      mlp.first.for_each_parameter(prefix, visit);
    else
      mlp.for_each_parameter(prefix, visit);
  }
};

}  // namespace lisa
