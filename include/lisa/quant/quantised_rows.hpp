#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/processor.hpp"
#include "lisa/quant/quantised_matrix.hpp"
#include "lisa/quant/weight_format.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa {

/// Many rows of inputs in 8 bits, as the matrix product takes them: symmetric, with one fp32 scale for each group of
/// neighbours of a row, 256 for int8 weights and 32 for int4, so that a large value costs only its own group precision.
struct QuantisedRows {
  static constexpr std::int64_t int8_group = 256;

  std::int64_t rows = 0, in = 0;
  std::int64_t group = 0;             ///< inputs that share a scale
  std::int32_t weight_offset = 0;     ///< what the product adds to the weights, so that they are unsigned
  std::vector<std::int8_t> values;    ///< [groups, rows, group], zeros behind a row's last
  std::vector<float> scales;          ///< [groups, rows]
  std::vector<std::int32_t> offsets;  ///< [groups, rows], -weight_offset times the sum of a group's values

  [[nodiscard]] std::int64_t groups() const { return (in + group - 1) / group; }
  /// Inputs of group g.
  [[nodiscard]] std::int64_t count(std::int64_t g) const { return std::min(group, in - g * group); }
  [[nodiscard]] std::size_t place(std::int64_t g, std::int64_t row) const {
    return static_cast<std::size_t>(g * rows + row);
  }
  [[nodiscard]] const std::int8_t* values_of(std::int64_t g, std::int64_t row) const {
    return values.data() + place(g, row) * static_cast<std::size_t>(group);
  }

  /// Zeros, for weights of this format.
  [[nodiscard]] static QuantisedRows zeros(WeightFormat format, std::int64_t rows, std::int64_t in) {
    const bool int8 = format == WeightFormat::int8_row;
    QuantisedRows made{.rows = rows,
                       .in = in,
                       .group = int8 ? int8_group : nibble_run,
                       .weight_offset = int8 ? 128 : 8,
                       .values = {},
                       .scales = {},
                       .offsets = {}};
    const auto places = static_cast<std::size_t>(made.groups() * rows);
    made.values.resize(places * static_cast<std::size_t>(made.group));
    made.scales.resize(places);
    made.offsets.resize(places);
    return made;
  }
};

/// Rounds the rows [begin, end) of x [rows, in] into `to`. A group with NaN or an infinite value gets NaN for its
/// scale, so that it reaches the result.
/// @tparam Element float or cpu::Bf16Bits
template <class Element>
using RowQuantiser = void (*)(const Element* x, std::int64_t begin, std::int64_t end, QuantisedRows& to);

template <class Element>
void quantise_inputs_portable(const Element* x, std::int64_t begin, std::int64_t end, QuantisedRows& to) {
  for (std::int64_t row = begin; row < end; ++row)
    for (std::int64_t g = 0; g < to.groups(); ++g) {
      const auto input = [from = x + row * to.in + g * to.group](std::int64_t i) { return cpu::to_float(from[i]); };
      const std::int64_t count = to.count(g);
      float largest = 0;
      bool finite = true;
      for (std::int64_t i = 0; i < count; ++i) {
        finite = finite && std::isfinite(input(i));
        largest = std::max(largest, std::abs(input(i)));
      }
      const std::size_t place = to.place(g, row);
      std::int8_t* const values = to.values.data() + place * static_cast<std::size_t>(to.group);
      const float scale = finite ? largest / 127 : std::numeric_limits<float>::quiet_NaN();
      const float inverse = scale > std::numeric_limits<float>::min() ? 1 / scale : 0;
      std::int32_t sum = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        const auto value = static_cast<std::int8_t>(
            inverse == 0 ? 0 : detail::nearest_integer(std::clamp(input(i) * inverse, -127.0F, 127.0F)));
        values[i] = value;
        sum += value;
      }
      to.scales[place] = scale;
      to.offsets[place] = -to.weight_offset * sum;
    }
}

#if defined(__x86_64__)

namespace detail {

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline __m512 load_inputs(__mmask16 mask,
                                                                                                    const float* from) {
  return _mm512_maskz_loadu_ps(mask, from);
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline __m512 load_inputs(
    __mmask16 mask, const cpu::Bf16Bits* from) {
  const __m512i bits = _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_maskz_loadu_epi16(mask, from));
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, bits, 16));
}

}  // namespace detail

template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] void quantise_inputs_avx512(const Element* x, std::int64_t begin,
                                                                                  std::int64_t end, QuantisedRows& to) {
  const __m512 sign = _mm512_set1_ps(-0.0F), infinity = _mm512_set1_ps(std::numeric_limits<float>::infinity());
  for (std::int64_t row = begin; row < end; ++row)
    for (std::int64_t g = 0; g < to.groups(); ++g) {
      const Element* const from = x + row * to.in + g * to.group;
      const std::int64_t count = to.count(g);
      const auto mask_of = [&](std::int64_t i) {
        return static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1U << (count - i)) - 1);
      };
      __m512 largest = _mm512_setzero_ps();
      __mmask16 finite = 0xffff;
      for (std::int64_t i = 0; i < count; i += 16) {
        const __m512 size = _mm512_andnot_ps(sign, detail::load_inputs(mask_of(i), from + i));
        finite &= _mm512_cmp_ps_mask(size, infinity, _CMP_LT_OQ);
        largest = _mm512_maskz_max_ps(0xffff, largest, size);
      }
      alignas(64) float sizes[16];
      _mm512_store_ps(sizes, largest);
      const float scale =
          finite == 0xffff ? *std::max_element(sizes, sizes + 16) / 127 : std::numeric_limits<float>::quiet_NaN();
      const bool usable = scale > std::numeric_limits<float>::min();
      const __m512 inverse = _mm512_set1_ps(usable ? 1 / scale : 0);
      const std::size_t place = to.place(g, row);
      std::int8_t* const values = to.values.data() + place * static_cast<std::size_t>(to.group);
      __m512i sum = _mm512_setzero_si512();
      for (std::int64_t i = 0; i < count; i += 16) {
        // No more than 127 by the choice of the scale, but for its rounding, which the saturation below takes away.
        const __m512 scaled = _mm512_maskz_mul_ps(0xffff, detail::load_inputs(mask_of(i), from + i), inverse);
        const __m512i rounded = _mm512_maskz_cvtps_epi32(usable ? mask_of(i) : __mmask16{0}, scaled);
        sum = _mm512_maskz_add_epi32(0xffff, sum, rounded);
        _mm_mask_storeu_epi8(values + i, mask_of(i), _mm512_maskz_cvtsepi32_epi8(0xffff, rounded));
      }
      alignas(64) std::int32_t sums[16];
      _mm512_store_si512(sums, sum);
      std::int32_t total = 0;
      for (const std::int32_t part : sums) total += part;
      to.scales[place] = scale;
      to.offsets[place] = -to.weight_offset * total;
    }
}

#endif

/// The fastest rounding of inputs that this processor can run.
template <class Element>
[[nodiscard]] RowQuantiser<Element> find_row_quantiser() {
#if defined(__x86_64__)
  if (cpu::has_avx512()) return quantise_inputs_avx512<Element>;
#endif
  return quantise_inputs_portable<Element>;
}

}  // namespace lisa
