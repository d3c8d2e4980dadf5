#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lisa/cpu/avx512_lanes.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/processor.hpp"
#include "lisa/cpu/row_parts.hpp"
#include "lisa/quant/quantised_avx2.hpp"
#include "lisa/quant/quantised_inputs.hpp"
#include "lisa/quant/quantised_matrix.hpp"
#include "lisa/quant/weight_format.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa {

/// y[row * out + column] = the products of all rows of inputs with the weights' rows [begin, end), and a bias: sums in
/// fp32, rounded once. The inputs are for the matrix's own format. An element is the same in any piece, and for any
/// number of rows.
/// @tparam Element float or cpu::Bf16Bits
/// @param bias [out] or null
template <class Element>
using QuantisedGemv = void (*)(const QuantisedMatrix& matrix, const QuantisedInputs& x, std::int64_t begin,
                               std::int64_t end, const float* bias, Element* y);

/// The product of the weights' row `column` with the inputs' row `row`.
using QuantisedDot = float (*)(const QuantisedMatrix& matrix, std::int64_t column, const QuantisedInputs& x,
                               std::int64_t row);

[[nodiscard]] inline float quantised_dot_portable(const QuantisedMatrix& m, std::int64_t column,
                                                  const QuantisedInputs& x, std::int64_t row) {
  float total = 0;
  for (std::int64_t begin = 0; begin < m.in; begin += x.group) {
    std::int32_t sum = 0;
    for (std::int64_t i = begin; i < std::min(m.in, begin + x.group); ++i)
      sum += m.integer(column, i) * x.values_of(row)[x.place(i)];
    total += static_cast<float>(sum) * (x.scales_of(row)[begin / x.group] * m.scale(column, begin));
  }
  return total;
}

/// One product after the other.
template <QuantisedDot Dot, class Element>
void quantised_gemv_of_dots(const QuantisedMatrix& m, const QuantisedInputs& x, std::int64_t begin, std::int64_t end,
                            const float* bias, Element* y) {
  for (std::int64_t column = begin; column < end; ++column)
    for (std::int64_t row = 0; row < x.rows; ++row)
      y[row * m.out + column] = cpu::rounded_to<Element>(Dot(m, column, x, row) + (bias != nullptr ? bias[column] : 0));
}

#if defined(__x86_64__)

namespace detail {

/// Rows of inputs and weights' rows whose sums are computed together: twelve sums of integers, as many of a row's
/// groups, and three weights.
inline constexpr int tile_rows = 4, tile_columns = 3;

/// The products of some rows with some columns.
template <int Rows, int Columns>
using TileProducts = float[Rows][Columns];

/// Which sums a tile has: of rows of inputs from `row` on with weights' rows from `column` on.
struct TilePlace {
  std::int64_t row, column;
};

/// A tile's operands: what belongs to its first row or column, and how far it is to the next one's.
struct TileOperands {
  /// Of the first tile.
  TileOperands(const QuantisedMatrix& m, const QuantisedInputs& x)
      : in(m.in),
        weights(m.values(0)),
        weight_stride(value_bytes(m.format, m.in)),
        weight_scales(m.scales(0)),
        weight_scale_stride(scale_bytes(m.format, m.in)),
        values(x.values_of(0)),
        value_stride(x.value_stride),
        scales(x.scales_of(0)),
        offsets(x.offsets_of(0)),
        scale_stride(x.scale_stride) {}

  [[nodiscard]] TileOperands at(const TilePlace& place) const {
    TileOperands moved = *this;
    moved.weights += place.column * weight_stride;
    moved.weight_scales += place.column * weight_scale_stride;
    moved.values += place.row * value_stride;
    moved.scales += place.row * scale_stride;
    moved.offsets += place.row * scale_stride;
    return moved;
  }

  std::int64_t in;
  const std::byte* weights;
  std::int64_t weight_stride;
  const std::byte* weight_scales;
  std::int64_t weight_scale_stride;
  const std::int8_t* values;
  std::int64_t value_stride;
  const float* scales;
  const std::int32_t* offsets;
  std::int64_t scale_stride;  ///< of the scales and the offsets
};

/// Fetches a line of each of `Columns` columns behind a tile's into the second cache, the lines of all in the order of
/// memory: several columns at once are too many streams for the processor to do that by itself. One column is not.
template <int Columns>
[[gnu::always_inline]] inline void fetch_behind(const std::byte* behind, std::int64_t line) {
  if constexpr (Columns > 1)
#pragma GCC unroll 3
    for (int c = 0; c < Columns; ++c) __builtin_prefetch(behind + (line * Columns + c) * QuantisedInputs::line, 0, 2);
}

/// Adds the products with a line of weights, those of a mask, from input i on.
template <int Rows, int Columns>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"), gnu::always_inline]] inline void add_int8_line(
    const TileOperands& of, std::int64_t i, __mmask64 exists, __m512i (&dots)[Rows][Columns]) {
  // Unsigned bytes q + 128: the instruction multiplies unsigned with signed ones.
  const __m512i unsigned_bytes = _mm512_set1_epi32(static_cast<int>(0x80808080U));
  fetch_behind<Columns>(of.weights + Columns * of.weight_stride, i / QuantisedInputs::line);
  __m512i w[Columns];
#pragma GCC unroll 3
  for (int c = 0; c < Columns; ++c)
    w[c] = _mm512_xor_si512(_mm512_maskz_loadu_epi8(exists, of.weights + c * of.weight_stride + i), unsigned_bytes);
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    const __m512i inputs = _mm512_loadu_si512(of.values + r * of.value_stride + i);
#pragma GCC unroll 3
    for (int c = 0; c < Columns; ++c) cpu::add_byte_products(dots[r][c], w[c], inputs);
  }
}

/// The groups of int8 from number `g` to the one before `end`, without the weights' scales: all of their inputs, or for
/// the last one those that there are. Not inlined, as the other tiles: amid other loops GCC 12 keeps the sums in
/// memory.
template <bool WholeGroups, int Rows, int Columns>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"), gnu::noinline]] void multiply_int8_groups(
    const TileOperands& of, std::int64_t g, std::int64_t end, TileProducts<Rows, Columns>& products) {
  constexpr std::int64_t line = QuantisedInputs::line, group = QuantisedRows::int8_group;
  __m512 sums[Rows][Columns];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 3
    for (int c = 0; c < Columns; ++c) sums[r][c] = _mm512_setzero_ps();
  for (; g < end; ++g) {
    __m512i dots[Rows][Columns];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const __m512i start = _mm512_maskz_set1_epi32(1, of.offsets[r * of.scale_stride + g]);
#pragma GCC unroll 3
      for (int c = 0; c < Columns; ++c) dots[r][c] = start;
    }
    const std::int64_t first = g * group;
    if constexpr (WholeGroups) {
#pragma GCC unroll 2  // four: a single row took a quarter longer on Zen 4
      for (std::int64_t i = 0; i < group; i += line) add_int8_line(of, first + i, ~__mmask64{0}, dots);
    } else {
      for (std::int64_t i = first; i < of.in; i += line)
        add_int8_line(of, i, ~__mmask64{0} >> (line - std::min(line, of.in - i)), dots);
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const __m512 scale = _mm512_set1_ps(of.scales[r * of.scale_stride + g]);
#pragma GCC unroll 3
      for (int c = 0; c < Columns; ++c)
        sums[r][c] = _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(0xffff, dots[r][c]), scale, sums[r][c]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) cpu::store_sums_of_lanes<Columns>(sums[r], products[r]);
}

template <int Rows, int Columns>
void multiply_int8(const TileOperands& of, TileProducts<Rows, Columns>& products) {
  const std::int64_t whole = of.in / QuantisedRows::int8_group;
  multiply_int8_groups<true>(of, 0, whole, products);
  if (of.in % QuantisedRows::int8_group != 0) {
    TileProducts<Rows, Columns> rest;
    multiply_int8_groups<false>(of, whole, whole + 1, rest);
    for (int r = 0; r < Rows; ++r)
      for (int c = 0; c < Columns; ++c) products[r][c] += rest[r][c];
  }
  for (int c = 0; c < Columns; ++c) {
    float scale;
    std::memcpy(&scale, of.weight_scales + c * of.weight_scale_stride, sizeof scale);
    for (int r = 0; r < Rows; ++r) products[r][c] *= scale;
  }
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

/// Adds the products with `runs` runs of 32 weights, at most 16, from input `begin` on. A constant 16 lets the compiler
/// leave every mask away.
template <WeightFormat Format, int Rows, int Columns>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"), gnu::always_inline]] inline void add_int4_runs(
    const TileOperands& of, std::int64_t begin, std::int64_t runs, __m512 (&sums)[Rows][Columns]) {
  constexpr std::int64_t line = QuantisedInputs::line, lines_of_half = int4_block / 2 / line;
  const __m512i low_half = _mm512_set1_epi8(15), high_half = _mm512_set1_epi8(static_cast<char>(0xf0));
  const auto mask = static_cast<__mmask16>((1U << runs) - 1);
  const std::int64_t first = begin / nibble_run;
  const std::byte* const weights = of.weights + begin / 2;
  const std::int8_t* const values = of.values + begin;
  // Few sums leave registers for those of the high halves, which then need not be shifted weight by weight.
  constexpr int halves = Rows * Columns <= 4 ? 2 : 1;
  __m512i dots[halves][Rows][Columns];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    const __m512i start = _mm512_loadu_si512(of.offsets + r * of.scale_stride + first);
#pragma GCC unroll 3
    for (int c = 0; c < Columns; ++c) {
      dots[halves - 1][r][c] = _mm512_setzero_si512();
      dots[0][r][c] = start;
    }
  }
#pragma GCC unroll 4
  for (std::int64_t i = 0; i < lines_of_half; ++i) {
    fetch_behind<Columns>(of.weights + Columns * of.weight_stride, begin / 2 / line + i);
#pragma GCC unroll 2
    for (int high = 0; high < 2; ++high) {
      __m512i w[Columns];
#pragma GCC unroll 3
      for (int c = 0; c < Columns; ++c) {
        const __m512i pairs = _mm512_maskz_loadu_epi32(mask, weights + c * of.weight_stride + i * runs * 4);
        if (high == 0)
          w[c] = _mm512_and_si512(pairs, low_half);
        else if (halves == 2)
          w[c] = _mm512_and_si512(pairs, high_half);
        else
          w[c] = _mm512_and_si512(_mm512_maskz_srli_epi16(~__mmask32{0}, pairs, 4), low_half);
      }
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) {
        const __m512i inputs = _mm512_loadu_si512(values + r * of.value_stride + (high * lines_of_half + i) * line);
#pragma GCC unroll 3
        for (int c = 0; c < Columns; ++c) cpu::add_byte_products(dots[high * (halves - 1)][r][c], w[c], inputs);
      }
    }
  }
#pragma GCC unroll 3
  for (int c = 0; c < Columns; ++c) {
    const __m512 weight_scales = int4_scales<Format>(of.weight_scales + c * of.weight_scale_stride, first, mask);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      __m512i dot = dots[0][r][c];
      // They stand for 16 times their value.
      if constexpr (halves == 2) dot = _mm512_add_epi32(dot, _mm512_maskz_srai_epi32(0xffff, dots[1][r][c], 4));
      const __m512 both = _mm512_mul_ps(weight_scales, _mm512_loadu_ps(of.scales + r * of.scale_stride + first));
      sums[r][c] = _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(0xffff, dot), both, sums[r][c]);
    }
  }
}

template <WeightFormat Format, int Rows, int Columns>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"), gnu::noinline]] void multiply_int4(
    const TileOperands& of, TileProducts<Rows, Columns>& products) {
  __m512 sums[Rows][Columns];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 3
    for (int c = 0; c < Columns; ++c) sums[r][c] = _mm512_setzero_ps();
  std::int64_t begin = 0;
  for (; begin + int4_block <= of.in; begin += int4_block) add_int4_runs<Format>(of, begin, 16, sums);
  if (begin < of.in) add_int4_runs<Format>(of, begin, (of.in - begin + nibble_run - 1) / nibble_run, sums);
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) cpu::store_sums_of_lanes<Columns>(sums[r], products[r]);
}

/// Where products go to.
template <class Element>
struct ProductTarget {
  Element* y;  // [rows, out]
  std::int64_t out;
  const float* bias;  // [out] or null
};

template <WeightFormat Format, int Rows, int Columns, class Element>
void multiply_tile(const TileOperands& first, const TilePlace& at, const ProductTarget<Element>& to) {
  TileProducts<Rows, Columns> products{};
  if constexpr (Format == WeightFormat::int8_row)
    multiply_int8<Rows, Columns>(first.at(at), products);
  else
    multiply_int4<Format, Rows, Columns>(first.at(at), products);
  for (int r = 0; r < Rows; ++r)
    for (int c = 0; c < Columns; ++c)
      to.y[(at.row + r) * to.out + at.column + c] =
          cpu::rounded_to<Element>(products[r][c] + (to.bias != nullptr ? to.bias[at.column + c] : 0));
}

/// All rows of the columns [begin, end).
template <WeightFormat Format, class Element>
void multiply_columns(const TileOperands& first, std::int64_t rows, std::int64_t begin, std::int64_t end,
                      const ProductTarget<Element>& to) {
  if (rows == 1) {  // the processor follows one column after the other by itself
    for (; begin < end; ++begin) multiply_tile<Format, 1, 1>(first, {0, begin}, to);
    return;
  }
  const auto of_columns = [&]<int Columns>() {
    for (; begin + Columns <= end; begin += Columns)
      cpu::for_row_parts<tile_rows>(
          rows, [&]<int Rows>(std::int64_t row) { multiply_tile<Format, Rows, Columns>(first, {row, begin}, to); });
  };
  of_columns.template operator()<tile_columns>();
  of_columns.template operator()<1>();
}

}  // namespace detail

template <class Element>
void quantised_gemv_avx512(const QuantisedMatrix& m, const QuantisedInputs& x, std::int64_t begin, std::int64_t end,
                           const float* bias, Element* y) {
  const detail::TileOperands first(m, x);
  const detail::ProductTarget<Element> to{y, m.out, bias};
  switch (m.format) {
    case WeightFormat::int8_row:
      return detail::multiply_columns<WeightFormat::int8_row>(first, x.rows, begin, end, to);
    case WeightFormat::int4_group32:
      return detail::multiply_columns<WeightFormat::int4_group32>(first, x.rows, begin, end, to);
    case WeightFormat::int4_group128:
      return detail::multiply_columns<WeightFormat::int4_group128>(first, x.rows, begin, end, to);
    case WeightFormat::nf4_group64:
      return;  // no integers
  }
}

#endif

/// The fastest product of few rows that this processor can run.
template <class Element>
[[nodiscard]] QuantisedGemv<Element> find_quantised_gemv() {
#if defined(__x86_64__)
  if (cpu::has_avx512_vnni()) return quantised_gemv_avx512<Element>;
  if (cpu::has_avx2()) return quantised_gemv_of_dots<quantised_dot_avx2, Element>;
#endif
  return quantised_gemv_of_dots<quantised_dot_portable, Element>;
}

/// Rows up to which this processor runs it faster than what takes many rows.
[[nodiscard]] inline std::int64_t quantised_gemv_rows() { return cpu::has_avx512_vnni() ? 16 : 8; }

}  // namespace lisa
