#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/diff.h>

#include <algorithm>

#include "lisa/config/dim.hpp"

namespace lisa::test {

/// Bound on the error of a mask's full-size logits in fp32 against two interpolations in fp64. Positions are rounded
/// three times, for scale, product and sum, by at most 2^-24 of the inputs' extent, which moves a value by that share
/// of the largest step between neighbours, along both axes of both interpolations. The sums are of numbers up to the
/// largest logit, with 8 roundings each.
/// @param low_res [N, s, s] @param resized the longer side of the image inside the padded square
inline double mask_logit_bound(const at::Tensor& low_res, dim resized) {
  const at::Tensor wide = low_res.to(at::kDouble);
  double step = 0;
  if (low_res.size(1) > 1)
    step = std::max(wide.diff(1, 1).abs().max().item<double>(), wide.diff(1, 2).abs().max().item<double>());
  const auto positions = static_cast<double>(resized + low_res.size(1));
  return 2 * 3 * 0x1p-24 * positions * step + 16 * 0x1p-24 * wide.abs().max().item<double>();
}

}  // namespace lisa::test
