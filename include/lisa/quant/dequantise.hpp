#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lisa/cpu/processor.hpp"
#include "lisa/quant/quantised_avx2.hpp"
#include "lisa/quant/quantised_matrix.hpp"
#include "lisa/quant/weight_format.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa {

/// Writes the weights of one row as fp32, [in].
using RowDequantiser = void (*)(const QuantisedMatrix& matrix, std::int64_t row, float* out);

inline void dequantise_row_portable(const QuantisedMatrix& m, std::int64_t row, float* out) {
  for (std::int64_t i = 0; i < m.in; ++i) out[i] = m.value(row, i);
}

#if defined(__x86_64__)

namespace detail {

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] inline void dequantise_int8_row(const QuantisedMatrix& m,
                                                                                      std::int64_t row, float* out) {
  const std::byte* const values = m.values(row);
  const __m512 scale = _mm512_set1_ps(m.scale(row, 0));
  for (std::int64_t i = 0; i < m.in; i += 16) {
    const auto mask = static_cast<__mmask16>(m.in - i >= 16 ? 0xffff : (1U << (m.in - i)) - 1);
    const __m512i q = _mm512_maskz_cvtepi8_epi32(mask, _mm_maskz_loadu_epi8(mask, values + i));
    _mm512_mask_storeu_ps(out + i, mask, _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(0xffff, q), scale));
  }
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] inline void dequantise_int4_row(const QuantisedMatrix& m,
                                                                                      std::int64_t row, float* out) {
  const std::byte* values = m.values(row);
  const __m128i low_half = _mm_set1_epi8(15), zero_point = _mm_set1_epi8(8);
  for (std::int64_t begin = 0; begin < m.in; begin += int4_block) {
    const std::int64_t runs = (std::min(int4_block, m.in - begin) + nibble_run - 1) / nibble_run;
    for (std::int64_t run = 0; run < runs; ++run) {
      // A run is one lane of each of the four vectors.
      alignas(16) std::byte lanes[16];
      for (std::int64_t vector = 0; vector < 4; ++vector)
        std::memcpy(lanes + 4 * vector, values + (vector * runs + run) * 4, 4);
      const __m128i pairs = _mm_load_si128(reinterpret_cast<const __m128i*>(lanes));
      const std::int64_t input = begin + run * nibble_run;
      const __m512 scale = _mm512_set1_ps(m.scale(row, input));
      const __m128i low = _mm_sub_epi8(_mm_and_si128(pairs, low_half), zero_point);
      const __m128i high = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(pairs, 4), low_half), zero_point);
      const __m512 first = _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, low));
      const __m512 second = _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, high));
      const std::uint32_t mask = ~std::uint32_t{0} >> std::max<std::int64_t>(0, input + nibble_run - m.in);
      _mm512_mask_storeu_ps(out + input, static_cast<__mmask16>(mask), _mm512_mul_ps(first, scale));
      _mm512_mask_storeu_ps(out + input + 16, static_cast<__mmask16>(mask >> 16), _mm512_mul_ps(second, scale));
    }
    values += runs * 16;
  }
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] inline void dequantise_nf4_row(const QuantisedMatrix& m,
                                                                                     std::int64_t row, float* out) {
  const __m512 levels = _mm512_loadu_ps(nf4_levels.data());
  for (std::int64_t begin = 0; begin < m.in; begin += nibble_run) {
    const auto* const run = reinterpret_cast<const __m128i*>(m.values(row) + begin / 2);
    const __m512i pairs = _mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(run));
    const __m512 scale = _mm512_set1_ps(m.scale(row, begin));
    // The lookup takes the lowest four bits of each word.
    const __m512 low = _mm512_maskz_permutexvar_ps(0xffff, pairs, levels);
    const __m512 high = _mm512_maskz_permutexvar_ps(0xffff, _mm512_maskz_srli_epi32(0xffff, pairs, 4), levels);
    const std::uint32_t mask = ~std::uint32_t{0} >> std::max<std::int64_t>(0, begin + nibble_run - m.in);
    _mm512_mask_storeu_ps(out + begin, static_cast<__mmask16>(mask), _mm512_mul_ps(low, scale));
    _mm512_mask_storeu_ps(out + begin + 16, static_cast<__mmask16>(mask >> 16), _mm512_mul_ps(high, scale));
  }
}

}  // namespace detail

inline void dequantise_row_avx512(const QuantisedMatrix& m, std::int64_t row, float* out) {
  if (m.format == WeightFormat::int8_row) return detail::dequantise_int8_row(m, row, out);
  if (m.format == WeightFormat::nf4_group64) return detail::dequantise_nf4_row(m, row, out);
  detail::dequantise_int4_row(m, row, out);
}

#endif

/// The fastest one that this processor can run.
[[nodiscard]] inline RowDequantiser find_row_dequantiser() {
#if defined(__x86_64__)
  if (cpu::has_avx512()) return dequantise_row_avx512;
  if (cpu::has_avx2()) return dequantise_row_avx2;
#endif
  return dequantise_row_portable;
}

}  // namespace lisa
