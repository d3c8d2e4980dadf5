#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <cstdint>
#include <string>

#include "lisa/nn/parameter.hpp"

namespace lisa::test {

/// Normal numbers that depend on the seed only.
inline at::Tensor random_tensor(const Shape& shape, std::uint64_t seed, at::ScalarType dtype = at::kFloat) {
  return at::empty(shape, at::kFloat).normal_(0, 1, at::detail::createCPUGenerator(seed)).to(dtype);
}

/// Fills every parameter so that activations keep a size around one: matrices by their input width, vectors around one.
template <Module M>
void fill_parameters(M& module, std::uint64_t seed, at::ScalarType dtype = at::kFloat) {
  module.for_each_parameter("", [&](const std::string& name, at::Tensor& value, const Shape& shape) {
    value = random_tensor(shape, seed++);
    if (shape.size() == 1)
      value.mul_(0.1).add_(name.ends_with("weight") ? 1.0 : 0.0);
    else if (!name.ends_with("embed_tokens.weight"))
      value.div_(std::sqrt(static_cast<double>(shape.back())));
    value = value.to(dtype);
  });
}

}  // namespace lisa::test
