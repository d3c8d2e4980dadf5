#pragma once

#include <ATen/core/Tensor.h>

#include <limits>

#include "lisa/aten/operators.hpp"

namespace lisa {

/// The token of the largest logit of each row, on the logits' device: NaN is left out, the lowest id wins among equals.
/// @param logits [rows, vocab], any floating dtype
/// @return       int64 [rows]; -1 where the largest logit is not finite
[[nodiscard]] inline at::Tensor greedy_tokens(const at::Tensor& logits) {
  const at::Tensor wide = logits.to(at::kFloat);
  const at::Tensor numbers = wide.masked_fill(wide.isnan(), -std::numeric_limits<double>::infinity());
  const auto [largest, token] = numbers.max(1);  // both [rows]
  return token.masked_fill(largest.isfinite().logical_not(), -1);
}

}  // namespace lisa
