#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lisa/quant/quantised_matrix.hpp"
#include "lisa/quant/weight_format.hpp"

namespace lisa {

/// Inputs of a layer in 8 bits, as the products with quantised weights take them: symmetric, with one fp32 scale for
/// each group of 64 (int8) or 32 (int4) neighbours, so that a large value costs only its own group precision.
struct QuantisedInputs {
  static constexpr std::int64_t line = 64;  ///< bytes of a vector

  WeightFormat format;
  std::int64_t in = 0;
  /// int8: in order. int4: block after block, 8 lines each: byte 4 l + k of line j is input 32 l + 4 j + k. Zeros
  /// behind the last.
  std::vector<std::int8_t> values;
  std::vector<float> scales;         ///< of each group, zeros behind the last up to a multiple of 16
  std::vector<std::int32_t> offset;  ///< int4: -8 times the sum of a group, which takes the weights' offset away
  float offset_sum = 0;              ///< int8: 128 times the sum of all inputs, likewise

  [[nodiscard]] static QuantisedInputs make(WeightFormat format, const float* x, std::int64_t in) {
    QuantisedInputs made;
    made.format = format;
    made.in = in;
    const std::int64_t group = format == WeightFormat::int8_row ? line : nibble_run;
    const std::int64_t unit = format == WeightFormat::int8_row ? line : int4_block;
    const std::int64_t padded = (in + unit - 1) / unit * unit;
    made.values.resize(static_cast<std::size_t>(padded));
    made.scales.resize(static_cast<std::size_t>((padded / group + 15) / 16 * 16));
    made.offset.resize(made.scales.size());
    for (std::int64_t begin = 0; begin < in; begin += group) {
      const std::int64_t end = std::min(in, begin + group);
      float largest = 0;
      for (std::int64_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(x[i]));
      // Not largest > 0: NaN must reach the result, by its scale.
      const float scale = has_nan(x + begin, end - begin) ? std::nanf("") : largest / 127;
      const float inverse = scale > 0 && std::isfinite(scale) ? 1 / scale : 0;
      std::int32_t sum = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        const float clamped = inverse == 0 ? 0 : std::clamp(x[i] * inverse, -127.0F, 127.0F);
        const auto value = static_cast<std::int8_t>(detail::nearest_integer(clamped));
        made.values[static_cast<std::size_t>(made.place(i))] = value;
        sum += value;
      }
      const auto g = static_cast<std::size_t>(begin / group);
      // An infinite input makes NaN, as its product with a zero weight would.
      made.scales[g] = std::isinf(scale) ? std::nanf("") : scale;
      made.offset[g] = -8 * sum;
      made.offset_sum += made.scales[g] * static_cast<float>(128 * sum);
    }
    return made;
  }

  /// Where an input's value lies.
  [[nodiscard]] std::int64_t place(std::int64_t input) const {
    if (format == WeightFormat::int8_row) return input;
    const std::int64_t block = input / int4_block, lane = input % int4_block / nibble_run, in_run = input % nibble_run;
    return block * int4_block + in_run / 4 * line + lane * 4 + in_run % 4;
  }

 private:
  static bool has_nan(const float* x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i)
      if (x[i] != x[i]) return true;
    return false;
  }
};

}  // namespace lisa
