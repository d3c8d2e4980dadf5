#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <string>

#include "bench/mapped_tensor.hpp"
#include "lisa/nn/parameter.hpp"

namespace lisa::bench {

/// Gives every parameter normal random numbers of deviation 0.02, and 1 is added where the module's own scale is around
/// one (the weight of a norm), in mapped files as a checkpoint's. Zeros would run faster than real weights on some
/// hardware.
template <Module M>
void fill_random(M& module, at::ScalarType dtype) {
  module.for_each_parameter("", [dtype](const std::string& name, at::Tensor& value, const Shape& shape) {
    at::Tensor drawn = at::empty(shape, at::TensorOptions().dtype(dtype)).normal_(0, 0.02);
    if (shape.size() == 1 && name.ends_with("weight")) drawn.add_(1);
    value = mapped(drawn);
  });
}

}  // namespace lisa::bench
