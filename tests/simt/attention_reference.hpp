#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "element_values.hpp"

namespace simt {

/// One query's attention in double, and how far fp32 sums over 16-bit inputs may be from it.
struct ReferenceRow {
  std::vector<double> out;    // [head_dim]
  std::vector<double> bound;  // [head_dim]
  double log_sum;             ///< ln of the sum of exp(scores)
  double magnitude;           ///< the largest sum of magnitudes of a score
};

/// A key as a query sees it: position terms included.
struct ReferenceKey {
  const float* key;    // [head_dim]
  const float* value;  // [head_dim]
  const float* rel_h;  // [head_dim]
  const float* rel_w;  // [head_dim]
};

/// The bound. With u = 2^-24 and A the largest sum of magnitudes of a score in units of log2:
/// - a score is three sums of head_dim products, one of which starts with another, scaled and shifted: at most
///   (2 head_dim + 16) u A away; exp2 adds 2^-22 and each rescaling by a new maximum one u. Together every softmax
///   weight has a relative error d.
/// - weights are rounded to Element (unit, smallest) for the product with v, not for their sum; sums over n keys add n
/// u. So out is at most (2 d + unit + 2 n u) of the same sum of magnitudes of v away, and smallest * sum |v|, and is
/// rounded to Element. A factor of 1.05 covers higher orders.
inline ReferenceRow attention_reference(const float* q, const std::vector<ReferenceKey>& keys, std::size_t head_dim,
                                        double scale, int rescalings, const ElementRounding& rounding) {
  constexpr double u = 0x1p-24, log2_of_e = 1.4426950408889634;
  std::vector<double> scores;
  double largest = -INFINITY, magnitude = 0;
  for (const ReferenceKey& key : keys) {
    double score = 0, sum = 0;
    for (std::size_t i = 0; i < head_dim; ++i) {
      const double terms[3] = {scale * q[i] * key.key[i], double{q[i]} * key.rel_h[i], double{q[i]} * key.rel_w[i]};
      for (const double term : terms) {
        score += term;
        sum += std::fabs(term);
      }
    }
    scores.push_back(score);
    largest = std::max(largest, score);
    magnitude = std::max(magnitude, sum * log2_of_e);
  }
  double total = 0;
  for (double& score : scores) total += score = std::exp(score - largest);
  const auto dim = static_cast<double>(head_dim), count = static_cast<double>(keys.size());
  const double weight_error = (2 * dim + 16) * u * magnitude / log2_of_e + 0x1p-22 + rescalings * u;
  ReferenceRow row{std::vector<double>(head_dim), std::vector<double>(head_dim), largest + std::log(total),
                   magnitude / log2_of_e};
  for (std::size_t i = 0; i < head_dim; ++i) {
    double out = 0, weighted = 0, plain = 0;
    for (std::size_t k = 0; k < keys.size(); ++k) {
      out += scores[k] * keys[k].value[i];
      weighted += scores[k] * std::fabs(keys[k].value[i]);
      plain += std::fabs(keys[k].value[i]);
    }
    row.out[i] = out / total;
    row.bound[i] =
        1.05 * ((2 * weight_error + rounding.unit + 2 * count * u) * weighted / total +
                rounding.smallest * plain / total + rounding.unit * std::fabs(row.out[i]) + rounding.smallest);
  }
  return row;
}

}  // namespace simt
