#pragma once

#include <cstdint>

#include "lisa/cpu/avx2_lanes.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/matrix_product.hpp"
#include "lisa/cpu/processor.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa::cpu {

/// Sum of a[i] * b[i], i < n, accumulated in fp32. No alignment is needed.
using Bf16Dot = float (*)(const Bf16Bits* a, const Bf16Bits* b, std::int64_t n);

[[nodiscard]] inline float bf16_dot_portable(const Bf16Bits* a, const Bf16Bits* b, std::int64_t n) {
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += to_float(a[i]) * to_float(b[i]);
  return sum;
}

#if defined(__x86_64__)

// Weights stream in order, which the processor's own prefetch follows well. Fetching ahead by instructions only took
// turns from it: a tenth and more of a step's time with weights of 4 bits on Zen 4 (docs/performance.md).

__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) inline float bf16_dot_avx512(const Bf16Bits* a,
                                                                                             const Bf16Bits* b,
                                                                                             std::int64_t n) {
  __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
  std::int64_t i = 0;
  for (; i + 128 <= n; i += 128) {
    s0 = _mm512_dpbf16_ps(s0, (__m512bh)_mm512_loadu_si512(a + i), (__m512bh)_mm512_loadu_si512(b + i));
    s1 = _mm512_dpbf16_ps(s1, (__m512bh)_mm512_loadu_si512(a + i + 32), (__m512bh)_mm512_loadu_si512(b + i + 32));
    s2 = _mm512_dpbf16_ps(s2, (__m512bh)_mm512_loadu_si512(a + i + 64), (__m512bh)_mm512_loadu_si512(b + i + 64));
    s3 = _mm512_dpbf16_ps(s3, (__m512bh)_mm512_loadu_si512(a + i + 96), (__m512bh)_mm512_loadu_si512(b + i + 96));
  }
  for (; i < n; i += 32) {
    const std::int64_t left = n - i;
    const __mmask32 mask = left >= 32 ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
    s0 = _mm512_dpbf16_ps(s0, (__m512bh)_mm512_maskz_loadu_epi16(mask, a + i),
                          (__m512bh)_mm512_maskz_loadu_epi16(mask, b + i));
  }
  const __m512d sum = _mm512_castps_pd(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
  // The zeroing forms, because the plain ones and the cast are defined by an uninitialised value, which g++ 12 warns
  // of.
  const __m256d low = _mm512_maskz_extractf64x4_pd(0xf, sum, 0), high = _mm512_maskz_extractf64x4_pd(0xf, sum, 1);
  return sum_of_lanes(_mm256_add_ps(_mm256_castpd_ps(low), _mm256_castpd_ps(high)));
}

__attribute__((target("avx2,fma"))) inline float bf16_dot_avx2(const Bf16Bits* a, const Bf16Bits* b, std::int64_t n) {
  // Each 32-bit lane holds two neighbours: the odd one is its upper half as it stands, the even one its lower half.
  const __m256i odd = _mm256_set1_epi32(static_cast<int>(0xffff0000U));
  __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
  std::int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const __m256i a0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i));
    const __m256i b0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i));
    const __m256i a1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i + 16));
    const __m256i b1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i + 16));
    s0 = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(a0, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b0, 16)),
                         s0);
    s1 = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(a0, odd)), _mm256_castsi256_ps(_mm256_and_si256(b0, odd)),
                         s1);
    s2 = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(a1, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b1, 16)),
                         s2);
    s3 = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(a1, odd)), _mm256_castsi256_ps(_mm256_and_si256(b1, odd)),
                         s3);
  }
  const float whole = sum_of_lanes(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
  return whole + bf16_dot_portable(a + i, b + i, n - i);
}

#endif

/// The fastest dot product that this processor can run; nullptr where only the portable one could, which is slower than
/// ATen's products.
[[nodiscard]] inline Bf16Dot find_bf16_dot() {
#if defined(__x86_64__)
  if (has_avx512_bf16()) return bf16_dot_avx512;
  if (has_avx2()) return bf16_dot_avx2;
#endif
  return nullptr;
}

/// Computes the columns [begin, end) of a product of few rows: every weight is read once, in the order of memory, so
/// that a mapped file's weights are used as they lie in it.
inline void bf16_gemv(const MatrixProduct<Bf16Bits>& product, Bf16Dot dot, std::int64_t begin, std::int64_t end) {
  const std::int64_t inner = product.inner;
  for (std::int64_t column = begin; column < end; ++column) {
    const float shift = product.bias == nullptr ? 0.0F : to_float(product.bias[column]);
    for (std::int64_t row = 0; row < product.rows; ++row)
      product.y[row * product.columns + column] =
          to_bf16(dot(product.weight + column * inner, product.x + row * inner, inner) + shift);
  }
}

}  // namespace lisa::cpu
