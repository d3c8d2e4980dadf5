#pragma once

#include <cstdint>

#include "lisa/cpu/avx512_lanes.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/matrix_product.hpp"
#include "lisa/cpu/processor.hpp"
#include "lisa/cpu/row_parts.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa::cpu {

/// Computes the columns [begin, end) of a product of a few rows, from weights as they lie in memory: each is brought in
/// once and laid out nowhere else. Columns can be computed in any pieces and at the same time; an element is the same
/// in any of them, and whichever row it is of.
using FewRowProduct = void (*)(const MatrixProduct<Bf16Bits>& product, std::int64_t begin, std::int64_t end);

/// Whether a product is one for it: two rows and more, and so few that they all stay in the second cache while the
/// weights go by.
[[nodiscard]] constexpr bool is_of_few_rows(std::int64_t rows, std::int64_t inner) {
  constexpr std::int64_t most = 64, elements = std::int64_t{1} << 18;  // half a megabyte
  return rows >= 2 && rows <= most && rows * inner <= elements;
}

#if defined(__x86_64__)

namespace detail {

/// Rows and columns whose sums are computed together: 24 sums leave registers for six weights and an input. With fewer
/// columns, four rows would take longer to load than to multiply.
inline constexpr int few_rows = 4, columns_of_few_rows = 6;

/// `Rows` rows of `Columns` columns. Each vector of weights serves all rows and each one of inputs all columns. The
/// columns behind these are fetched into the second cache, in the order of memory: six columns at once are too many
/// streams for the processor to do that by itself. Not inlined: amid other loops GCC 12 keeps the sums in memory.
template <int Rows, int Columns>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::noinline]] void multiply_few_rows(
    const MatrixProduct<Bf16Bits>& product, std::int64_t row, std::int64_t column) {
  constexpr std::int64_t line = 32;
  const std::int64_t inner = product.inner;
  const Bf16Bits* const x = product.x + row * inner;
  const Bf16Bits* const weight = product.weight + column * inner;
  const Bf16Bits* const behind = weight + Columns * inner;
  __m512 sums[Rows][Columns];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 6
    for (int c = 0; c < Columns; ++c) sums[r][c] = _mm512_setzero_ps();
  std::int64_t i = 0;
  for (; i + line <= inner; i += line) {
    __m512i weights[Columns];
#pragma GCC unroll 6
    for (int c = 0; c < Columns; ++c) {
      __builtin_prefetch(behind + i * Columns + c * line, 0, 2);
      weights[c] = _mm512_loadu_si512(weight + c * inner + i);
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const __m512i inputs = _mm512_loadu_si512(x + r * inner + i);
#pragma GCC unroll 6
      for (int c = 0; c < Columns; ++c) add_lane_products<Bf16Bits>(sums[r][c], weights[c], inputs);
    }
  }
  if (i < inner) {
    const __mmask32 exists = (__mmask32{1} << (inner - i)) - 1;
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const __m512i inputs = _mm512_maskz_loadu_epi16(exists, x + r * inner + i);
#pragma GCC unroll 6
      for (int c = 0; c < Columns; ++c)
        add_lane_products<Bf16Bits>(sums[r][c], _mm512_maskz_loadu_epi16(exists, weight + c * inner + i), inputs);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    float products[Columns];
    store_sums_of_lanes<Columns>(sums[r], products);
    for (int c = 0; c < Columns; ++c) {
      const float shift = product.bias == nullptr ? 0.0F : to_float(product.bias[column + c]);
      product.y[(row + r) * product.columns + column + c] = to_bf16(products[c] + shift);
    }
  }
}

/// All rows of `Columns` columns.
template <int Columns>
void multiply_all_rows(const MatrixProduct<Bf16Bits>& product, std::int64_t column) {
  for_row_parts<few_rows>(
      product.rows, [&]<int Rows>(std::int64_t first) { multiply_few_rows<Rows, Columns>(product, first, column); });
}

}  // namespace detail

inline void few_row_product_avx512(const MatrixProduct<Bf16Bits>& product, std::int64_t begin, std::int64_t end) {
  constexpr int together = detail::columns_of_few_rows;
  for (; begin + together <= end; begin += together) detail::multiply_all_rows<together>(product, begin);
  for (; begin < end; ++begin) detail::multiply_all_rows<1>(product, begin);
}

#endif

/// The product that this processor can run faster than any other; nullptr for none.
[[nodiscard]] inline FewRowProduct find_few_row_product() {
#if defined(__x86_64__)
  if (has_avx512_bf16()) return few_row_product_avx512;
#endif
  return nullptr;
}

}  // namespace lisa::cpu
