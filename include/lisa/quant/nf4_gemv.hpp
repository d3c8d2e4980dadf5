#pragma once

#include <algorithm>
#include <cstdint>

#include "lisa/cpu/processor.hpp"
#include "lisa/quant/quantised_avx2.hpp"
#include "lisa/quant/quantised_gemv.hpp"
#include "lisa/quant/quantised_matrix.hpp"
#include "lisa/quant/weight_format.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa {

/// y[i] = the product of row `row` of NF4 weights with row i of x [count, in], fp32. The weights are restored in
/// registers; nothing is rounded but the sum.
using Nf4Dot = void (*)(const QuantisedMatrix& matrix, std::int64_t row, const float* x, std::int64_t count, float* y);

inline void nf4_dot_portable(const QuantisedMatrix& m, std::int64_t row, const float* x, std::int64_t count, float* y) {
  for (std::int64_t n = 0; n < count; ++n) {
    float total = 0;
    for (std::int64_t begin = 0; begin < m.in; begin += nf4_group) {
      float sum = 0;
      for (std::int64_t i = begin; i < std::min(m.in, begin + nf4_group); ++i) sum += m.level(row, i) * x[n * m.in + i];
      total += sum * m.scale(row, begin);
    }
    y[n] = total;
  }
}

#if defined(__x86_64__)

namespace detail {

/// Adds the products of `Count` rows of x [Count, in] with `runs` runs of one group, of which `left` weights exist, to
/// 16 partial sums each.
template <int Count>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline void add_nf4_group(
    const QuantisedMatrix& m, std::int64_t row, std::int64_t begin, int runs, std::int64_t left, __m512 levels,
    const float* x, __m512 (&sums)[Count]) {
  constexpr __mmask16 all = 0xffff;
  const auto* const values = reinterpret_cast<const __m128i*>(m.values(row) + begin / 2);
  __m512 dots[Count];
#pragma GCC unroll 4
  for (int n = 0; n < Count; ++n) dots[n] = _mm512_setzero_ps();
#pragma GCC unroll 2
  for (int run = 0; run < runs; ++run) {
    const __m512i pairs = _mm512_maskz_cvtepu8_epi32(all, _mm_loadu_si128(values + run));
    // The lookup takes the lowest four bits of each word.
    const __m512 low = _mm512_maskz_permutexvar_ps(all, pairs, levels);
    const __m512 high = _mm512_maskz_permutexvar_ps(all, _mm512_maskz_srli_epi32(all, pairs, 4), levels);
    const std::int64_t first = run * nibble_run;
    const std::uint32_t mask = ~std::uint32_t{0} >> std::max<std::int64_t>(0, first + nibble_run - left);
#pragma GCC unroll 4
    for (int n = 0; n < Count; ++n) {
      const float* const from = x + n * m.in + begin + first;
      dots[n] = _mm512_fmadd_ps(low, _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from), dots[n]);
      dots[n] = _mm512_fmadd_ps(high, _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), from + 16), dots[n]);
    }
  }
  const __m512 scale = _mm512_set1_ps(m.scale(row, begin));
#pragma GCC unroll 4
  for (int n = 0; n < Count; ++n) sums[n] = _mm512_fmadd_ps(dots[n], scale, sums[n]);
}

template <int Count>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] inline void nf4_dots(const QuantisedMatrix& m, std::int64_t row,
                                                                           const float* x, float* y) {
  const __m512 levels = _mm512_loadu_ps(nf4_levels.data());
  __m512 sums[Count];
#pragma GCC unroll 4
  for (int n = 0; n < Count; ++n) sums[n] = _mm512_setzero_ps();
  std::int64_t begin = 0;
  for (; begin + nf4_group <= m.in; begin += nf4_group) {
    add_nf4_group<Count>(m, row, begin, 2, nf4_group, levels, x, sums);
  }
  if (const std::int64_t left = m.in - begin; left > 0)
    add_nf4_group<Count>(m, row, begin, left > nibble_run ? 2 : 1, left, levels, x, sums);
#pragma GCC unroll 4
  for (int n = 0; n < Count; ++n) y[n] = cpu::sum_of_lanes(sums[n]);
}

}  // namespace detail

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] inline void nf4_dot_avx512(const QuantisedMatrix& m,
                                                                                 std::int64_t row, const float* x,
                                                                                 std::int64_t count, float* y) {
  for (std::int64_t n = 0; n < count; n += 4) {
    const float* const rows = x + n * m.in;
    switch (std::min<std::int64_t>(4, count - n)) {
      case 1:
        detail::nf4_dots<1>(m, row, rows, y + n);
        break;
      case 2:
        detail::nf4_dots<2>(m, row, rows, y + n);
        break;
      case 3:
        detail::nf4_dots<3>(m, row, rows, y + n);
        break;
      default:
        detail::nf4_dots<4>(m, row, rows, y + n);
    }
  }
}

#endif

/// The fastest product with NF4 weights that this processor can run.
[[nodiscard]] inline Nf4Dot find_nf4_dot() {
#if defined(__x86_64__)
  if (cpu::has_avx512()) return nf4_dot_avx512;
  if (cpu::has_avx2()) return nf4_dot_avx2;
#endif
  return nf4_dot_portable;
}

}  // namespace lisa
