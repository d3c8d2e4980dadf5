#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "lisa/cpu/avx512_lanes.hpp"
#include "lisa/cpu/processor.hpp"
#include "lisa/quant/quantised_avx2.hpp"
#include "lisa/quant/quantised_inputs.hpp"
#include "lisa/quant/quantised_matrix.hpp"
#include "lisa/quant/weight_format.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa {

/// y[i] = the product of row `row` of integers with inputs[i], for `count` inputs of the matrix's own format.
using QuantisedDot = void (*)(const QuantisedMatrix& matrix, std::int64_t row, const QuantisedInputs* inputs,
                              std::int64_t count, float* y);

inline void quantised_dot_portable(const QuantisedMatrix& m, std::int64_t row, const QuantisedInputs* inputs,
                                   std::int64_t count, float* y) {
  const std::int64_t group = m.format == WeightFormat::int8_row ? QuantisedInputs::line : nibble_run;
  for (std::int64_t n = 0; n < count; ++n) {
    float total = 0;
    for (std::int64_t begin = 0; begin < m.in; begin += group) {
      std::int32_t sum = 0;
      for (std::int64_t i = begin; i < std::min(m.in, begin + group); ++i)
        sum += m.integer(row, i) * inputs[n].values[static_cast<std::size_t>(inputs[n].place(i))];
      const float scale = inputs[n].scales[static_cast<std::size_t>(begin / group)] * m.scale(row, begin);
      total += static_cast<float>(sum) * scale;
    }
    y[n] = total;
  }
}

#if defined(__x86_64__)

namespace detail {

template <int Count>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]] inline void int8_dots(const QuantisedMatrix& m,
                                                                                       std::int64_t row,
                                                                                       const QuantisedInputs* inputs,
                                                                                       float* y) {
  const std::byte* const values = m.values(row);
  const __m512i offset = _mm512_set1_epi32(static_cast<int>(0x80808080U));
  // Two sums for each input, so that one need not wait for the other.
  __m512 sums[2][Count];
#pragma GCC unroll 4
  for (int n = 0; n < Count; ++n) sums[0][n] = sums[1][n] = _mm512_setzero_ps();
  std::int64_t i = 0;
  for (; i + 128 <= m.in; i += 128) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      // Unsigned bytes q + 128: the instruction multiplies unsigned with signed ones.
      const __m512i w = _mm512_xor_si512(_mm512_loadu_si512(values + i + half * 64), offset);
#pragma GCC unroll 4
      for (int n = 0; n < Count; ++n) {
        const __m512i x = _mm512_loadu_si512(inputs[n].values.data() + i + half * 64);
        const __m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, x);
        const __m512 scale = _mm512_set1_ps(inputs[n].scales.data()[i / 64 + half]);
        sums[half][n] = _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(0xffff, dot), scale, sums[half][n]);
      }
    }
  }
  for (; i < m.in; i += 64) {
    const std::int64_t left = std::min<std::int64_t>(64, m.in - i);
    const __mmask64 mask = ~__mmask64{0} >> (64 - left);
    const __m512i w = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, values + i), offset);
#pragma GCC unroll 4
    for (int n = 0; n < Count; ++n) {
      const __m512i x = _mm512_loadu_si512(inputs[n].values.data() + i);  // zeros behind the last
      const __m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, x);
      const __m512 scale = _mm512_set1_ps(inputs[n].scales.data()[i / 64]);
      sums[0][n] = _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(0xffff, dot), scale, sums[0][n]);
    }
  }
  const float scale = m.scale(row, 0);
#pragma GCC unroll 4
  for (int n = 0; n < Count; ++n)
    y[n] = scale * (cpu::sum_of_lanes(_mm512_add_ps(sums[0][n], sums[1][n])) - inputs[n].offset_sum);
}

/// The scales of 16 runs of int4 beginning with run `first`; `mask` has the runs that exist.
template <WeightFormat Format>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"), gnu::always_inline]] inline __m512 int4_scales(
    const std::byte* scales, std::int64_t first, __mmask16 mask) {
  __m512i bits;
  if constexpr (Format == WeightFormat::int4_group32) {
    bits = _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_maskz_loadu_epi16(mask, scales + first * 2));
  } else {
    // Four runs share one scale.
    const __m512i index = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const auto groups =
        static_cast<__mmask8>((mask & 1) | (mask >> 4 & 1) << 1 | (mask >> 8 & 1) << 2 | (mask >> 12 & 1) << 3);
    const __m128i packed =
        mask == 0xffff ? _mm_loadu_si64(scales + first / 4 * 2) : _mm_maskz_loadu_epi16(groups, scales + first / 4 * 2);
    bits = _mm512_maskz_permutexvar_epi32(0xffff, index, _mm512_zextsi128_si512(_mm_cvtepu16_epi32(packed)));
  }
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, bits, 16));
}

/// Adds the products of `runs` runs of 32 int4 weights, at most 16, with the inputs from `begin` on. A constant 16 lets
/// the compiler leave every mask away.
template <WeightFormat Format, int Count>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"), gnu::always_inline]] inline void add_int4_runs(
    const std::byte* values, const std::byte* scales, std::int64_t begin, std::int64_t runs,
    const QuantisedInputs* inputs, __m512 (&sums)[Count]) {
  const __m512i low_half = _mm512_set1_epi8(15), high_half = _mm512_set1_epi8(static_cast<char>(0xf0));
  const std::int64_t first = begin / nibble_run;
  const auto mask = static_cast<__mmask16>((1U << runs) - 1);
  __m512i low[Count], high[Count];
#pragma GCC unroll 4
  for (int n = 0; n < Count; ++n) {
    low[n] = _mm512_loadu_si512(inputs[n].offset.data() + first);
    high[n] = _mm512_setzero_si512();
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i pairs = _mm512_maskz_loadu_epi32(mask, values + i * runs * 4);
    const __m512i w_low = _mm512_and_si512(pairs, low_half), w_high = _mm512_and_si512(pairs, high_half);
#pragma GCC unroll 4
    for (int n = 0; n < Count; ++n) {
      const std::int8_t* const x = inputs[n].values.data() + begin;
      low[n] = _mm512_dpbusd_epi32(low[n], w_low, _mm512_loadu_si512(x + i * 64));
      high[n] = _mm512_dpbusd_epi32(high[n], w_high, _mm512_loadu_si512(x + 256 + i * 64));
    }
  }
  const __m512 scale = int4_scales<Format>(scales, first, mask);
#pragma GCC unroll 4
  for (int n = 0; n < Count; ++n) {
    // The high halves stand for 16 times their value.
    const __m512i dot = _mm512_add_epi32(low[n], _mm512_maskz_srai_epi32(0xffff, high[n], 4));
    const __m512 both = _mm512_mul_ps(scale, _mm512_loadu_ps(inputs[n].scales.data() + first));
    sums[n] = _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(0xffff, dot), both, sums[n]);
  }
}

template <WeightFormat Format, int Count>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]] inline void int4_dots(const QuantisedMatrix& m,
                                                                                       std::int64_t row,
                                                                                       const QuantisedInputs* inputs,
                                                                                       float* y) {
  const std::byte* const values = m.values(row);
  const std::byte* const scales = m.scales(row);
  __m512 sums[Count];
#pragma GCC unroll 4
  for (int n = 0; n < Count; ++n) sums[n] = _mm512_setzero_ps();
  std::int64_t begin = 0;
  for (; begin + int4_block <= m.in; begin += int4_block)
    add_int4_runs<Format, Count>(values + begin / 2, scales, begin, 16, inputs, sums);
  if (begin < m.in)
    add_int4_runs<Format, Count>(values + begin / 2, scales, begin, (m.in - begin + nibble_run - 1) / nibble_run,
                                 inputs, sums);
#pragma GCC unroll 4
  for (int n = 0; n < Count; ++n) y[n] = cpu::sum_of_lanes(sums[n]);
}

template <int Count>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]] inline void quantised_dots(
    const QuantisedMatrix& m, std::int64_t row, const QuantisedInputs* inputs, float* y) {
  switch (m.format) {
    case WeightFormat::int8_row:
      return int8_dots<Count>(m, row, inputs, y);
    case WeightFormat::int4_group32:
      return int4_dots<WeightFormat::int4_group32, Count>(m, row, inputs, y);
    case WeightFormat::int4_group128:
      return int4_dots<WeightFormat::int4_group128, Count>(m, row, inputs, y);
    case WeightFormat::nf4_group64:
      break;  // no integers
  }
}

}  // namespace detail

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]] inline void quantised_dot_avx512(
    const QuantisedMatrix& m, std::int64_t row, const QuantisedInputs* inputs, std::int64_t count, float* y) {
  for (std::int64_t n = 0; n < count; n += 4) {
    switch (std::min<std::int64_t>(4, count - n)) {
      case 1:
        detail::quantised_dots<1>(m, row, inputs + n, y + n);
        break;
      case 2:
        detail::quantised_dots<2>(m, row, inputs + n, y + n);
        break;
      case 3:
        detail::quantised_dots<3>(m, row, inputs + n, y + n);
        break;
      default:
        detail::quantised_dots<4>(m, row, inputs + n, y + n);
    }
  }
}

#endif

/// The fastest product that this processor can run.
[[nodiscard]] inline QuantisedDot find_quantised_dot() {
#if defined(__x86_64__)
  if (cpu::has_avx512_vnni()) return quantised_dot_avx512;
  if (cpu::has_avx2()) return quantised_dot_avx2;
#endif
  return quantised_dot_portable;
}

}  // namespace lisa
