#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>

namespace lisa::test {

/// |a - b| / |b| over all elements, in double precision.
inline double relative_l2(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor wide = b.to(at::kDouble);
  return a.to(at::kDouble).sub(wide).norm().item<double>() / std::max(wide.norm().item<double>(), 1e-300);
}

/// Largest absolute difference.
inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return a.numel() == 0 ? 0.0 : a.to(at::kDouble).sub(b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace lisa::test
