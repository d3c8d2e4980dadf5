#pragma once

namespace lisa {

/// Factors of the parts of the loss (Lai et al. 2024, section 3.2; LISA train_ds.py).
struct LossWeights {
  double ce = 1.0;    ///< text
  double bce = 2.0;   ///< masks, pixel by pixel
  double dice = 0.5;  ///< masks, by their overlap
  bool operator==(const LossWeights&) const = default;
};

}  // namespace lisa
