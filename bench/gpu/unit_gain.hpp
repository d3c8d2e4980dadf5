#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <string>

#include "lisa/nn/parameter.hpp"

namespace lisa::gpu_bench {

/// Gives every parameter normal random numbers, made where it is to live: matrices and convolutions so that outputs are
/// as large as inputs, whatever the width, and every layer counts as much as what its result is added to. With smaller
/// weights outputs would agree whatever a layer computes. Scales of norms are around one, biases small.
template <Module M>
void fill_unit_gain(M& module, const at::TensorOptions& options) {
  module.for_each_parameter("", [&options](const std::string& name, at::Tensor& value, const Shape& shape) {
    value = at::empty(shape, options);
    if (shape.size() == 1)
      value.normal_(0, 0.02).add_(name.ends_with("weight") ? 1 : 0);
    else if (name.ends_with("embed_tokens.weight"))
      value.normal_(0, 1);
    else
      value.normal_(0, 1 / std::sqrt(static_cast<double>(value.numel() / shape.front())));
  });
}

}  // namespace lisa::gpu_bench
