#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "tests/support/random_parameters.hpp"

namespace lisa::test {

/// Largest difference between the gradients that autograd gives and central differences of the function's values,
/// relative to the largest of these differences. Everything is fp64.
/// @param function  of the tensors in `variables`, which it may also reach in other ways than its argument
/// @param variables fp64 leaves; their values are moved and put back
/// @param probes    elements that are moved in each variable; all of them when it has fewer
inline double gradient_error(const std::function<at::Tensor()>& function, const std::vector<at::Tensor>& variables,
                             std::int64_t probes = 24) {
  at::Tensor weights;  // a fixed linear form makes one number of the function's values
  const auto value = [&] {
    const at::Tensor result = function();
    if (!weights.defined()) weights = random_tensor(result.sizes().vec(), 4711, at::kDouble);
    return result.mul(weights).sum();
  };
  for (at::Tensor variable : variables) {
    variable.requires_grad_(true);
    variable.mutable_grad() = at::Tensor();
  }
  value().backward();
  const at::NoGradGuard no_gradients;
  double worst = 0, largest = 0;
  for (const at::Tensor& variable : variables) {
    at::Tensor flat = variable.view(-1);
    const at::Tensor gradient = variable.grad().defined() ? variable.grad().reshape(-1) : flat.new_zeros(flat.sizes());
    const std::int64_t count = std::min(probes, flat.numel());
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t at = i * flat.numel() / count;
      const double step = 1e-6, middle = flat[at].item<double>();
      flat[at].fill_(middle + step);
      const double above = value().item<double>();
      flat[at].fill_(middle - step);
      const double below = value().item<double>();
      flat[at].fill_(middle);
      const double expected = (above - below) / (2 * step);
      worst = std::max(worst, std::abs(gradient[at].item<double>() - expected));
      largest = std::max(largest, std::abs(expected));
    }
  }
  return worst / std::max(largest, 1e-300);
}

}  // namespace lisa::test
