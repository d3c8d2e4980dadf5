#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/silu.h>

#include <cmath>
#include <optional>

#include "lisa/config/dim.hpp"

// Bounds on the errors of kernels with fp32 sums and results of 16 bits, against the same in fp64. `unit` is the unit
// roundoff of the 16-bit type; what is below fp16's normal numbers is off by 2^-25 at most.

namespace lisa::test {

/// Largest relative error of an fp32 operation, largest error of an fp16 number that is not normal.
inline constexpr double fp32_unit = 0x1p-24, smallest_error = 0x1p-25;

/// The largest of the differences, each in units of its own bound. A NaN stays.
inline double largest_ratio(const at::Tensor& found, const at::Tensor& exact, const at::Tensor& bound) {
  return found.numel() == 0 ? 0.0 : found.to(at::kDouble).sub(exact).abs().div(bound).max().item<double>();
}

/// Of each element of a normalised row: the sum of `width` squares has a relative error of at most width units, so the
/// scale half of that and 8 more for mean, eps, root, quotient and product; the normalised value and its product with
/// the weight are rounded.
/// @param exact [..., width]  @param weight [width]
inline at::Tensor rms_norm_bound(const at::Tensor& exact, const at::Tensor& weight, double unit) {
  const auto width = static_cast<double>(exact.size(-1));
  return exact.abs()
      .mul(1.01 * (2 * unit + (0.5 * width + 8) * fp32_unit))
      .add(weight.to(at::kDouble).abs().add(1).mul(smallest_error));
}

/// A product in fp64 and what an fp32 sum, in any order, may be away from it.
struct BoundedProduct {
  at::Tensor value, error;  // [rows, Out]

  /// Each of `in` products and fewer than `in` sums is rounded, and so are a scale and what is added.
  static BoundedProduct of(const at::Tensor& x, const at::Tensor& weight,
                           const std::optional<at::Tensor>& added = std::nullopt) {
    const at::Tensor wide_x = x.to(at::kDouble), wide = weight.to(at::kDouble);
    at::Tensor value = wide_x.matmul(wide.t()), magnitude = wide_x.abs().matmul(wide.abs().t());
    if (added) {
      value = value.add(added->to(at::kDouble));
      magnitude = magnitude.add(added->to(at::kDouble).abs());
    }
    return {value, magnitude.mul((static_cast<double>(x.size(-1)) + 4) * fp32_unit)};
  }

  /// With the one rounding of the result.
  [[nodiscard]] at::Tensor bound(double unit) const {
    return error.add(value.abs().mul(unit)).mul(1.01).add(smallest_error);
  }
};

/// silu(gate) * up in fp64 and its bound: with the errors of both products; silu's slope is at most 1.1. The exponent's
/// argument has two roundings, exp2 2^-22, and sum, quotient and product one rounding each.
inline BoundedProduct gated_product(const BoundedProduct& gate, const BoundedProduct& up) {
  const at::Tensor silu = at::silu(gate.value), value = silu.mul(up.value);
  const at::Tensor relative = gate.value.abs().mul(2 * fp32_unit).add(0x1p-22 + 3 * fp32_unit);
  return {value, gate.error.mul(1.1)
                     .mul(up.value.abs().add(up.error))
                     .add(silu.abs().mul(up.error))
                     .add(value.abs().mul(relative))};
}

/// Of every element of causal attention. A score is a sum of head_dim products, scaled and shifted, so it is off by
/// (head_dim + 8) units of its magnitudes' sum; exp2 adds 2^-22, each tile of keys a rescaling. Numerator and
/// denominator have that relative error, the weights and the result are rounded, and sums over the keys add a unit for
/// each.
/// @param query [heads, T, head_dim]  @param key, value [kv_heads, S, head_dim]
inline double causal_attention_bound(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                     double unit) {
  const dim kv_heads = key.size(0), head_dim = query.size(2);
  const auto keys = static_cast<double>(key.size(1)), width = static_cast<double>(head_dim);
  const at::Tensor grouped = query.to(at::kDouble).abs().reshape({kv_heads, -1, head_dim});
  const double magnitude =
      grouped.matmul(key.to(at::kDouble).abs().transpose(1, 2)).max().item<double>() / std::sqrt(width);
  const double of_weight = (width + 8) * fp32_unit * magnitude + 0x1p-22 + 4 * (keys / 64 + 1) * fp32_unit;
  const double largest = value.to(at::kDouble).abs().max().item<double>();
  return 1.05 * ((2 * of_weight + 2 * unit + 2 * keys * fp32_unit) * largest + smallest_error * (keys * largest + 1));
}

}  // namespace lisa::test
