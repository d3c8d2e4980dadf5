#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "attention_reference.hpp"

namespace simt {

/// One query head of one sequence, row after row.
struct HeadTensors {
  std::size_t queries = 0, keys = 0, head_dim = 0;
  double scale = 1;
  std::vector<double> q, out, out_gradient;  // [queries, head_dim]
  std::vector<double> k, v;                  // [keys, head_dim]
  std::vector<double> log_sum;               // [queries]
};

/// A gradient, and how far fp32 sums over 16-bit values may be from it before it is rounded itself.
struct Gradient {
  std::vector<double> values, bound;
  explicit Gradient(std::size_t count) : values(count), bound(count) {}

  void add(std::size_t i, double value, double error) {
    values[i] += value;
    bound[i] += error;
  }
};

struct HeadGradients {
  Gradient q, k, v;
};

/// Gradients from what the kernels are given: out and log_sum as they are, not as they should be. The bounds, with
/// u = 2^-24, and 1.05 for higher orders:
/// - a score is head_dim products, of magnitude A together, and is scaled and brought to the power of 2: P has the
///   relative error p = (head_dim + 8) u A + 4 u |log_sum| + 2^-22.
/// - dP and dout.out are sums of head_dim products, of magnitudes B and C: dS = P (dP - dout.out) is at most
///   P ((p + 2 u) |dP - dout.out| + (head_dim + 1) u (B + C)) away.
/// - P and dS are rounded to Element (unit, smallest); sums of n terms, which the scale multiplies, add (n + 2) u.
/// @param terms of the longest sum: queries of all heads that share a key, or keys
inline HeadGradients causal_gradient_reference(const HeadTensors& t, std::size_t terms,
                                               const ElementRounding& rounding) {
  constexpr double u = 0x1p-24, higher_orders = 1.05;
  const std::size_t dim = t.head_dim;
  const auto wide = static_cast<double>(dim);
  const double sum_error = (static_cast<double>(terms) + 2) * u;
  HeadGradients gradients{Gradient(t.queries * dim), Gradient(t.keys * dim), Gradient(t.keys * dim)};
  for (std::size_t i = 0; i < t.queries; ++i) {
    const double* const q = &t.q[i * dim];
    const double* const slope = &t.out_gradient[i * dim];
    double product = 0, product_magnitude = 0;
    for (std::size_t d = 0; d < dim; ++d) {
      product += slope[d] * t.out[i * dim + d];
      product_magnitude += std::fabs(slope[d] * t.out[i * dim + d]);
    }
    for (std::size_t j = 0; j <= t.keys - t.queries + i; ++j) {
      const double* const k = &t.k[j * dim];
      const double* const v = &t.v[j * dim];
      double score = 0, magnitude = 0, along = 0, along_magnitude = 0;
      for (std::size_t d = 0; d < dim; ++d) {
        score += t.scale * q[d] * k[d];
        magnitude += std::fabs(t.scale * q[d] * k[d]);
        along += slope[d] * v[d];
        along_magnitude += std::fabs(slope[d] * v[d]);
      }
      const double p = std::exp(score - t.log_sum[i]), s = p * (along - product);
      const double p_error = (wide + 8) * u * magnitude + 4 * u * std::fabs(t.log_sum[i]) + 0x1p-22;
      const double weight_error = p * (p_error + rounding.unit + sum_error) + rounding.smallest;
      const double slope_error = p * ((p_error + 2 * u) * std::fabs(along - product) +
                                      (wide + 1) * u * (along_magnitude + product_magnitude)) +
                                 std::fabs(s) * (rounding.unit + sum_error) + rounding.smallest;
      for (std::size_t d = 0; d < dim; ++d) {
        gradients.v.add(j * dim + d, p * slope[d], higher_orders * weight_error * std::fabs(slope[d]));
        gradients.q.add(i * dim + d, t.scale * s * k[d], higher_orders * t.scale * slope_error * std::fabs(k[d]));
        gradients.k.add(j * dim + d, t.scale * s * q[d], higher_orders * t.scale * slope_error * std::fabs(q[d]));
      }
    }
  }
  return gradients;
}

}  // namespace simt
