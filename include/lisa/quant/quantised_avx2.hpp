#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lisa/cpu/avx2_lanes.hpp"
#include "lisa/quant/quantised_inputs.hpp"
#include "lisa/quant/quantised_matrix.hpp"
#include "lisa/quant/weight_format.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

/// Products with quantised weights, and the weights themselves, for processors with AVX2 and without AVX-512.
namespace lisa {

namespace detail {

/// The bytes of vector `vector` of a block of int4 whose rows have `runs` runs there, from lane `first` on; zeros where
/// no run is.
[[gnu::target("avx2,fma"), gnu::always_inline]] inline __m256i int4_pairs(const std::byte* block, std::int64_t vector,
                                                                          std::int64_t runs, std::int64_t first) {
  const std::byte* const from = block + (vector * runs + first) * 4;
  if (runs - first >= 8) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  alignas(32) std::byte padded[32] = {};
  std::memcpy(padded, from, static_cast<std::size_t>(runs - first) * 4);
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(padded));
}

/// The scales of eight runs from run `run` of a row, of which `runs` exist; zeros for the others.
[[gnu::target("avx2,fma"), gnu::always_inline]] inline __m256 int4_run_scales(const QuantisedMatrix& m,
                                                                              std::int64_t row, std::int64_t run,
                                                                              std::int64_t runs) {
  if (m.format == WeightFormat::int4_group32 && runs >= 8) {
    const auto* const bits = reinterpret_cast<const __m128i*>(m.scales(row) + run * 2);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(bits)), 16));
  }
  alignas(32) float scales[8] = {};
  for (std::int64_t i = 0; i < std::min<std::int64_t>(8, runs); ++i) scales[i] = m.scale(row, (run + i) * nibble_run);
  return _mm256_load_ps(scales);
}

[[gnu::target("avx2,fma")]] inline float int8_dot_avx2(const QuantisedMatrix& m, std::int64_t column,
                                                       const QuantisedInputs& x, std::int64_t row) {
  const std::byte* const values = m.values(column);
  const __m256i ones = _mm256_set1_epi16(1);
  __m256 sums = _mm256_setzero_ps();
  for (std::int64_t first = 0; first < m.in; first += x.group) {
    __m256i dot = _mm256_setzero_si256();
    for (std::int64_t i = first; i < std::min(m.in, first + x.group); i += 32) {
      alignas(32) std::byte padded[32] = {};
      const std::byte* from = values + i;
      if (m.in - i < 32) {
        std::memcpy(padded, from, static_cast<std::size_t>(m.in - i));
        from = padded;
      }
      const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
      const __m256i inputs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.values_of(row) + i));
      // The instruction multiplies unsigned with signed bytes; two products of at most 128 * 127 fit into 16 bits.
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(inputs, w));
      dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, ones));
    }
    const __m256 scale = _mm256_set1_ps(x.scales_of(row)[first / x.group]);
    sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sums);
  }
  return cpu::sum_of_lanes(sums) * m.scale(column, 0);
}

[[gnu::target("avx2,fma")]] inline float int4_dot_avx2(const QuantisedMatrix& m, std::int64_t column,
                                                       const QuantisedInputs& x, std::int64_t row) {
  const std::byte* block = m.values(column);
  const __m256i low_half = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  __m256 sums = _mm256_setzero_ps();
  for (std::int64_t begin = 0; begin < m.in; begin += int4_block) {
    const std::int64_t runs = std::min<std::int64_t>(16, (m.in - begin + nibble_run - 1) / nibble_run);
    const std::int64_t first_run = begin / nibble_run;
    for (std::int64_t first = 0; first < runs; first += 8) {
      // Sixteen products of at most 15 * 127 stay within 16 bits.
      __m256i products = _mm256_setzero_si256();
      for (std::int64_t vector = 0; vector < 4; ++vector) {
        const __m256i pairs = int4_pairs(block, vector, runs, first);
        const std::int8_t* const inputs = x.values_of(row) + begin + vector * QuantisedInputs::line + first * 4;
        const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(inputs));
        const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(inputs + 4 * QuantisedInputs::line));
        products = _mm256_add_epi16(products, _mm256_maddubs_epi16(_mm256_and_si256(pairs, low_half), low));
        products = _mm256_add_epi16(
            products, _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(pairs, 4), low_half), high));
      }
      const std::int64_t run = first_run + first;
      const __m256i offset =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.offsets_of(row) + run));  // zeros behind the last
      const __m256 dot = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_madd_epi16(products, ones), offset));
      const __m256 scale =
          _mm256_mul_ps(int4_run_scales(m, column, run, runs - first), _mm256_loadu_ps(x.scales_of(row) + run));
      sums = _mm256_fmadd_ps(dot, scale, sums);
    }
    block += runs * (nibble_run / 2);
  }
  return cpu::sum_of_lanes(sums);
}

/// Sixteen levels for the lower four bits of eight words.
[[gnu::target("avx2,fma"), gnu::always_inline]] inline __m256 nf4_of_words(__m256i codes) {
  const __m256 lower = _mm256_permutevar8x32_ps(_mm256_loadu_ps(nf4_levels.data()), codes);
  const __m256 upper = _mm256_permutevar8x32_ps(_mm256_loadu_ps(nf4_levels.data() + 8), codes);
  return _mm256_blendv_ps(lower, upper, _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28)));  // by the fourth bit
}

/// The 32 weights of the 4-bit run that begins with `input`, in order, with the run's scale.
[[gnu::target("avx2,fma")]] inline void restore_run_avx2(const QuantisedMatrix& m, std::int64_t row, std::int64_t input,
                                                         float* to) {
  const __m256 scale = _mm256_set1_ps(m.scale(row, input));
  alignas(16) std::byte bytes[16];
  if (m.format == WeightFormat::nf4_group64) {
    std::memcpy(bytes, m.values(row) + nf4_place(input).byte, sizeof bytes);
  } else {
    for (std::int64_t part = 0; part < 4; ++part)  // a run is one lane of each of the four vectors
      std::memcpy(bytes + 4 * part, m.values(row) + int4_place(m.in, input + 4 * part).byte, 4);
  }
  for (std::int64_t i = 0; i < 16; i += 8) {
    const __m256i pairs = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes + i)));
    const __m256i low = _mm256_and_si256(pairs, _mm256_set1_epi32(15)), high = _mm256_srli_epi32(pairs, 4);
    const auto level = [&](__m256i codes) __attribute__((target("avx2,fma"))) {
      return m.format == WeightFormat::nf4_group64 ? nf4_of_words(codes)
                                                   : _mm256_cvtepi32_ps(_mm256_sub_epi32(codes, _mm256_set1_epi32(8)));
    };
    _mm256_storeu_ps(to + i, _mm256_mul_ps(level(low), scale));
    _mm256_storeu_ps(to + 16 + i, _mm256_mul_ps(level(high), scale));
  }
}

}  // namespace detail

/// `QuantisedDot` in AVX2.
[[gnu::target("avx2,fma")]] inline float quantised_dot_avx2(const QuantisedMatrix& m, std::int64_t column,
                                                            const QuantisedInputs& x, std::int64_t row) {
  return m.format == WeightFormat::int8_row ? detail::int8_dot_avx2(m, column, x, row)
                                            : detail::int4_dot_avx2(m, column, x, row);
}

/// `RowDequantiser` in AVX2.
[[gnu::target("avx2,fma")]] inline void dequantise_row_avx2(const QuantisedMatrix& m, std::int64_t row, float* out) {
  if (m.format == WeightFormat::int8_row) {
    const std::byte* const values = m.values(row);
    const float scale = m.scale(row, 0);
    std::int64_t i = 0;
    for (; i + 8 <= m.in; i += 8) {
      const __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(values + i)));
      _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_cvtepi32_ps(q), _mm256_set1_ps(scale)));
    }
    for (; i < m.in; ++i) out[i] = static_cast<float>(m.integer(row, i)) * scale;
    return;
  }
  for (std::int64_t input = 0; input < m.in; input += nibble_run) {
    if (m.in - input >= nibble_run) {
      detail::restore_run_avx2(m, row, input, out + input);
      continue;
    }
    alignas(32) float run[nibble_run];
    detail::restore_run_avx2(m, row, input, run);
    std::copy_n(run, m.in - input, out + input);
  }
}

/// `Nf4Dot` in AVX2: a run of weights is restored once for all rows of x.
[[gnu::target("avx2,fma")]] inline void nf4_dot_avx2(const QuantisedMatrix& m, std::int64_t row, const float* x,
                                                     std::int64_t count, float* y) {
  constexpr std::int64_t together = 8;
  for (std::int64_t first = 0; first < count; first += together) {
    const std::int64_t rows = std::min(together, count - first);
    __m256 sums[together];
    float rest[together] = {};
    for (__m256& sum : sums) sum = _mm256_setzero_ps();
    for (std::int64_t input = 0; input < m.in; input += nibble_run) {
      alignas(32) float run[nibble_run];
      detail::restore_run_avx2(m, row, input, run);
      for (std::int64_t n = 0; n < rows; ++n) {
        const float* const from = x + (first + n) * m.in + input;
        if (m.in - input >= nibble_run)
          for (std::int64_t i = 0; i < nibble_run; i += 8)
            sums[n] = _mm256_fmadd_ps(_mm256_load_ps(run + i), _mm256_loadu_ps(from + i), sums[n]);
        else
          for (std::int64_t i = 0; i < m.in - input; ++i) rest[n] += run[i] * from[i];
      }
    }
    for (std::int64_t n = 0; n < rows; ++n) y[first + n] = cpu::sum_of_lanes(sums[n]) + rest[n];
  }
}

}  // namespace lisa

#endif
