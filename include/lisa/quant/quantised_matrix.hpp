#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "lisa/cpu/bfloat16.hpp"
#include "lisa/quant/weight_format.hpp"

namespace lisa {

/// A view of quantised weights [out, in]; at any address, as files have them.
struct QuantisedMatrix {
  WeightFormat format;
  std::int64_t out, in;
  const std::byte* bytes;  ///< [out * row_bytes]

  /// The values of a row, `value_bytes` of them.
  [[nodiscard]] const std::byte* values(std::int64_t row) const { return bytes + row * value_bytes(format, in); }

  /// The scales of a row, `scale_bytes` of them.
  [[nodiscard]] const std::byte* scales(std::int64_t row) const {
    return bytes + out * value_bytes(format, in) + row * scale_bytes(format, in);
  }

  /// The scale of one input's group.
  [[nodiscard]] float scale(std::int64_t row, std::int64_t input) const {
    if (format == WeightFormat::int8_row) {
      float value;
      std::memcpy(&value, scales(row), sizeof value);
      return value;
    }
    cpu::Bf16Bits bits;
    std::memcpy(&bits, scales(row) + input / group_size(format, in) * 2, sizeof bits);
    return cpu::to_float(bits);
  }

  /// One weight in units of its scale: an integer, or a level of NF4.
  [[nodiscard]] float level(std::int64_t row, std::int64_t input) const {
    return format == WeightFormat::nf4_group64 ? nf4_levels[static_cast<std::size_t>(nibble(row, nf4_place(input)))]
                                               : static_cast<float>(integer(row, input));
  }

  /// One weight of a format of integers as the integer that stands for it.
  [[nodiscard]] int integer(std::int64_t row, std::int64_t input) const {
    if (format == WeightFormat::int8_row) return static_cast<std::int8_t>(values(row)[input]);
    return nibble(row, int4_place(in, input)) - 8;
  }

  /// One weight.
  [[nodiscard]] float value(std::int64_t row, std::int64_t input) const {
    return level(row, input) * scale(row, input);
  }

  /// The four bits of one place.
  [[nodiscard]] int nibble(std::int64_t row, NibblePlace place) const {
    const auto pair = std::to_integer<int>(values(row)[place.byte]);
    return place.high ? pair >> 4 : pair & 15;
  }
};

namespace detail {

/// The nearest integer, ties to even, of a value below 2^22: faster than the library's function, which asks for the
/// rounding mode.
[[nodiscard]] inline float nearest_integer(float value) { return value + 12582912.0F - 12582912.0F; }

/// Rounds row by row into the two planes of a quantised matrix.
struct MatrixQuantiser {
  WeightFormat format;
  std::int64_t out, in;
  std::byte* bytes;

  void row(std::int64_t index, const float* weights) const {
    std::byte* const values = bytes + index * value_bytes(format, in);
    std::byte* const scales = bytes + out * value_bytes(format, in) + index * scale_bytes(format, in);
    if (format == WeightFormat::int8_row)
      int8_row(weights, values, scales);
    else
      row_of_nibbles(weights, values, scales);
  }

 private:
  void int8_row(const float* weights, std::byte* values, std::byte* scales) const {
    float largest = 0;
    for (std::int64_t i = 0; i < in; ++i) largest = std::max(largest, std::abs(weights[i]));
    const float scale = largest / 127, inverse = is_usable(scale) ? 127 / largest : 0;
    for (std::int64_t i = 0; i < in; ++i)
      values[i] = static_cast<std::byte>(static_cast<std::int8_t>(nearest_integer(weights[i] * inverse)));
    std::memcpy(scales, &scale, sizeof scale);
  }

  void row_of_nibbles(const float* weights, std::byte* values, std::byte* scales) const {
    const bool nf4 = format == WeightFormat::nf4_group64;
    const std::int64_t size = group_size(format, in), padded = 2 * value_bytes(format, in);
    std::fill_n(values, value_bytes(format, in), std::byte{0});
    for (std::int64_t begin = 0; begin < in; begin += size) {
      const std::int64_t count = std::min(size, in - begin);
      const cpu::Bf16Bits bits = nf4 ? nf4_scale(weights + begin, count) : int4_scale(weights + begin, count);
      std::memcpy(scales + begin / size * 2, &bits, sizeof bits);
      const float scale = cpu::to_float(bits), inverse = is_usable(scale) ? 1 / scale : 0;
      for (std::int64_t i = begin; i < std::min(padded, begin + size); ++i) {
        const float level = i < in ? weights[i] * inverse : 0;
        const int nibble = nf4 ? nf4_code(level) : static_cast<int>(int4_integer(level)) + 8;
        const NibblePlace place = nf4 ? nf4_place(i) : int4_place(in, i);
        values[place.byte] |= static_cast<std::byte>(place.high ? nibble << 4 : nibble);
      }
    }
  }

  static cpu::Bf16Bits nf4_scale(const float* weights, std::int64_t count) {
    float largest = 0;
    for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(weights[i]));
    return cpu::to_bf16(largest);
  }

  /// Whether a scale has a finite inverse; weights that have not become zeros.
  static bool is_usable(float scale) { return std::abs(scale) >= std::numeric_limits<float>::min(); }

  static float int4_integer(float level) { return nearest_integer(std::clamp(level, -8.0F, 7.0F)); }

  /// The scale with the smallest sum of squared errors among some around "the largest weight becomes -8". It is rounded
  /// to bf16 before the weights are.
  static cpu::Bf16Bits int4_scale(const float* weights, std::int64_t size) {
    float largest = 0;
    for (std::int64_t i = 0; i < size; ++i)
      if (std::abs(weights[i]) > std::abs(largest)) largest = weights[i];
    if (largest == 0) return 0;
    cpu::Bf16Bits best = 0;
    float best_error = 0;
    for (const float divisor : {-8.0F, -7.5F, -8.6F, -9.3F, 7.4F}) {
      const cpu::Bf16Bits bits = cpu::to_bf16(largest / divisor);
      const float scale = cpu::to_float(bits), inverse = is_usable(scale) ? 1 / scale : 0;
      float error = 0;
      for (std::int64_t i = 0; i < size; ++i) {
        const float off = weights[i] - int4_integer(weights[i] * inverse) * scale;
        error += off * off;
      }
      if (divisor == -8.0F || error < best_error) {
        best = bits;
        best_error = error;
      }
    }
    return best;
  }
};

}  // namespace detail

/// Quantises the rows [begin, end) of a matrix of finite weights.
/// @param weights [end - begin, in]  @param bytes [out * row_bytes], the whole matrix
inline void quantise_rows(WeightFormat format, std::int64_t out, std::int64_t in, const float* weights,
                          std::int64_t begin, std::int64_t end, std::byte* bytes) {
  const detail::MatrixQuantiser quantiser{format, out, in, bytes};
  for (std::int64_t row = begin; row < end; ++row) quantiser.row(row, weights + (row - begin) * in);
}

}  // namespace lisa
