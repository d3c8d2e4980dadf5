#pragma once

namespace lisa {

/// Numbers of AdamW (Loshchilov and Hutter 2019); the defaults are LISA's (train_ds.py).
struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0;
  bool operator==(const AdamWOptions&) const = default;
};

}  // namespace lisa
