#pragma once

#include <ATen/core/Reduction.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cross_entropy_loss.h>

#include <cstdint>

#include "lisa/train/loss_weights.hpp"

namespace lisa {

/// What the parts of a loss are averaged over.
struct LossCounts {
  double tokens = 0;  ///< labelled tokens of the micro-batch
  double masks = 0;   ///< masks of the micro-batch
};

/// Parts of the loss as the original logs them, their weights applied; fp32 scalars.
struct LossParts {
  at::Tensor ce, bce, dice;

  /// The masks' part.
  [[nodiscard]] at::Tensor mask() const { return bce.add(dice); }
  /// What is minimised.
  [[nodiscard]] at::Tensor total() const { return ce.add(mask()); }
};

/// Sum of the cross entropies of labelled tokens.
/// @param logits  [N, vocab] in any floating dtype, each row that of the position before its label; computed in fp32 at
/// least
/// @param labels  int64 [N]
[[nodiscard]] inline at::Tensor text_loss_sum(const at::Tensor& logits, const at::Tensor& labels) {
  const auto wide = c10::promoteTypes(logits.scalar_type(), at::kFloat);
  return at::cross_entropy_loss(logits.to(wide), labels, {}, at::Reduction::Sum);
}

/// Binary cross entropy of each mask, averaged over its pixels (LISA model/LISA.py, sigmoid_ce_loss).
/// @param logits   [N, H, W]
/// @param targets  [N, H, W] in the logits' dtype
/// @return         [N]
[[nodiscard]] inline at::Tensor bce_per_mask(const at::Tensor& logits, const at::Tensor& targets) {
  return at::binary_cross_entropy_with_logits(logits, targets, {}, {}, at::Reduction::None).flatten(1).mean(1);
}

/// DICE loss of each mask (Milletari et al. 2016), with the sums divided by 1000 and 1e-6 added as in LISA
/// model/LISA.py, dice_loss: so an empty target costs nearly 1 unless nothing at all is predicted.
/// @param logits   [N, H, W]
/// @param targets  [N, H, W] in the logits' dtype
/// @return         [N]
[[nodiscard]] inline at::Tensor dice_per_mask(const at::Tensor& logits, const at::Tensor& targets) {
  constexpr double scale = 1000, eps = 1e-6;
  const at::Tensor predicted = logits.sigmoid().flatten(1), wanted = targets.flatten(1);  // [N, H * W]
  const at::Tensor overlap = predicted.div(scale).mul(wanted).sum(-1).mul(2);
  const at::Tensor total = predicted.div(scale).sum(-1).add(wanted.div(scale).sum(-1));
  return overlap.add(eps).div(total.add(eps)).neg().add(1);
}

}  // namespace lisa
