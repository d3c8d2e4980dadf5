#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lisa/cpu/avx512_lanes.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/next_weights.hpp"
#include "lisa/cpu/processor.hpp"
#include "lisa/quant/quantised_gemv.hpp"
#include "lisa/quant/quantised_matrix.hpp"
#include "lisa/quant/quantised_rows.hpp"
#include "lisa/quant/weight_format.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa {

/// Columns that the matrix product computes together.
inline constexpr std::int64_t gemm_columns = 64;

/// y[row * out + column] = the products of all rows with the weights' rows [begin, end), at most `gemm_columns` of
/// them, and a bias: sums in fp32, rounded once. The matrix holds integers and has the rows' number of inputs.
/// @tparam Element float or cpu::Bf16Bits
/// @param bias [out] or null
template <class Element>
using QuantisedGemm = void (*)(const QuantisedMatrix& matrix, const QuantisedRows& x, std::int64_t begin,
                               std::int64_t end, const float* bias, Element* y);

template <class Element>
void quantised_gemm_portable(const QuantisedMatrix& m, const QuantisedRows& x, std::int64_t begin, std::int64_t end,
                             const float* bias, Element* y) {
  for (std::int64_t row = 0; row < x.rows; ++row)
    for (std::int64_t column = begin; column < end; ++column) {
      float total = 0;
      for (std::int64_t g = 0; g < x.groups(); ++g) {
        const std::int64_t first = g * x.group;
        std::int32_t sum = 0;
        for (std::int64_t i = 0; i < x.count(g); ++i) sum += m.integer(column, first + i) * x.values_of(g, row)[i];
        total += static_cast<float>(sum) * (x.scales[x.place(g, row)] * m.scale(column, first));
      }
      if (bias != nullptr) total += bias[column];
      y[row * m.out + column] = cpu::rounded_to<Element>(total);
    }
}

#if defined(__x86_64__)

namespace detail {

/// Weights of 64 columns as the product takes them: unsigned, four inputs of each of 16 columns in a vector. A group of
/// int8, or a block of 16 groups of int4 with their scales.
struct PackedWeights {
  static constexpr std::int64_t vectors_of_quad = gemm_columns / 16;
  alignas(64) __m512i quads[int4_block / 4][vectors_of_quad];
  alignas(64) __m512 scales[int4_block / nibble_run][vectors_of_quad];  ///< of int4, for each group and column
};

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] inline void pack_int8(const QuantisedMatrix& m,
                                                                            std::int64_t begin, std::int64_t end,
                                                                            std::int64_t first, std::int64_t count,
                                                                            PackedWeights& to) {
  const __m512i offset = _mm512_set1_epi32(static_cast<int>(0x80808080U));
  for (std::int64_t v = 0; v < PackedWeights::vectors_of_quad; ++v)
    for (std::int64_t i = 0; i < count; i += 64) {
      const __mmask64 mask = ~__mmask64{0} >> (64 - std::min<std::int64_t>(64, count - i));
      __m512i rows[16];
#pragma GCC unroll 16
      for (int c = 0; c < 16; ++c) {
        const std::int64_t column = begin + v * 16 + c;
        rows[c] = column < end ? _mm512_maskz_loadu_epi8(mask, m.values(column) + first + i) : _mm512_setzero_si512();
      }
      cpu::transpose_lanes(rows);
#pragma GCC unroll 16
      for (int k = 0; k < 16; ++k) to.quads[i / 4 + k][v] = _mm512_xor_si512(rows[k], offset);
    }
}

/// The block of int4 that begins with input `first`; `runs` of it exist.
template <WeightFormat Format>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]] inline void pack_int4(
    const QuantisedMatrix& m, std::int64_t begin, std::int64_t end, std::int64_t first, std::int64_t runs,
    PackedWeights& to) {
  constexpr std::int64_t quads_of_run = nibble_run / 4;
  const __m512i low_half = _mm512_set1_epi8(15);
  const auto mask = static_cast<__mmask16>((1U << runs) - 1);
  for (std::int64_t v = 0; v < PackedWeights::vectors_of_quad; ++v) {
    __m512i rows[16];
    for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 16
      for (int c = 0; c < 16; ++c) {
        const std::int64_t column = begin + v * 16 + c;
        rows[c] = column < end ? _mm512_maskz_loadu_epi32(mask, m.values(column) + first / 2 + i * runs * 4)
                               : _mm512_setzero_si512();
      }
      cpu::transpose_lanes(rows);
#pragma GCC unroll 16
      for (int run = 0; run < 16; ++run) {
        to.quads[run * quads_of_run + i][v] = _mm512_and_si512(rows[run], low_half);
        to.quads[run * quads_of_run + 4 + i][v] =
            _mm512_and_si512(_mm512_maskz_srli_epi16(~__mmask32{0}, rows[run], 4), low_half);
      }
    }
#pragma GCC unroll 16
    for (int c = 0; c < 16; ++c) {
      const std::int64_t column = begin + v * 16 + c;
      rows[c] = column < end ? _mm512_castps_si512(int4_scales<Format>(m.scales(column), first / nibble_run, mask))
                             : _mm512_setzero_si512();
    }
    cpu::transpose_lanes(rows);
#pragma GCC unroll 16
    for (int run = 0; run < 16; ++run) to.scales[run][v] = _mm512_castsi512_ps(rows[run]);
  }
}

/// Adds the products of `Rows` rows with the weights of one group, `quads` of four inputs, to sums [Rows, 64].
/// Not inlined: amid other loops GCC 12 keeps the sums in memory, which halves the speed.
/// @param weight_scales of the group's columns, for formats that have a scale for each group
template <int Rows, std::int64_t Group, bool ScaledWeights>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"), gnu::noinline]] inline void add_group(
    const __m512i (*weights)[PackedWeights::vectors_of_quad], const __m512* weight_scales, const QuantisedRows& x,
    std::int64_t g, std::int64_t row, std::int64_t quads, float* sums, const cpu::NextWeights& next) {
  constexpr int vectors = PackedWeights::vectors_of_quad;
  const std::int8_t* const inputs = x.values_of(g, row);
  __m512i dots[Rows][vectors];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) dots[r][v] = _mm512_set1_epi32(x.offsets[x.place(g, row + r)]);
  for (std::int64_t k = 0; k < quads; ++k) {
    next.fetch(k);
    __m512i w[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) w[v] = weights[k][v];
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      std::int32_t four;
      std::memcpy(&four, inputs + r * Group + k * 4, sizeof four);
      const __m512i input = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) cpu::add_byte_products(dots[r][v], w[v], input);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
    const __m512 input_scale = _mm512_set1_ps(x.scales[x.place(g, row + r)]);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      float* const sum = sums + r * gemm_columns + v * 16;
      const __m512 scale = ScaledWeights ? _mm512_mul_ps(input_scale, weight_scales[v]) : input_scale;
      const __m512 dot = _mm512_maskz_cvtepi32_ps(0xffff, dots[r][v]);
      _mm512_storeu_ps(sum, _mm512_fmadd_ps(dot, scale, _mm512_loadu_ps(sum)));
    }
  }
}

/// The same for all rows, each tile of them beside a share of the next weights.
template <std::int64_t Group, bool ScaledWeights>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]] inline void add_group_to_all(
    const __m512i (*weights)[PackedWeights::vectors_of_quad], const __m512* weight_scales, const QuantisedRows& x,
    std::int64_t g, float* sums, const cpu::NextWeights& next) {
  constexpr std::int64_t tile = 6;  // 24 sums, four weights and an input leave registers to spare
  const std::int64_t quads = (x.count(g) + 3) / 4, tiles = std::max<std::int64_t>(1, x.rows / tile);
  std::int64_t row = 0;
  for (; row + tile <= x.rows; row += tile)
    add_group<tile, Group, ScaledWeights>(weights, weight_scales, x, g, row, quads, sums + row * gemm_columns,
                                          next.share(row / tile, tiles));
  for (; row + 2 <= x.rows; row += 2)
    add_group<2, Group, ScaledWeights>(weights, weight_scales, x, g, row, quads, sums + row * gemm_columns, {});
  if (row < x.rows)
    add_group<1, Group, ScaledWeights>(weights, weight_scales, x, g, row, quads, sums + row * gemm_columns, {});
}

/// Values that are multiplied behind those of the columns up to `end`, `bytes` of each from `first` on: of the same
/// columns from `begin` on, or where they have no more, the beginnings of the next 64.
[[nodiscard]] inline cpu::NextWeights values_behind(const QuantisedMatrix& m, std::int64_t begin, std::int64_t end,
                                                    std::int64_t first, std::int64_t bytes) {
  const std::int64_t of_row = value_bytes(m.format, m.in);
  if (first < of_row) return {m.values(begin) + first, of_row, end - begin, std::min(bytes, of_row - first)};
  const std::int64_t columns = std::min(m.out - end, end - begin);
  return columns > 0 ? cpu::NextWeights{m.values(end), of_row, columns, std::min(bytes, of_row)} : cpu::NextWeights{};
}

template <WeightFormat Format>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]] inline void add_int4_products(
    const QuantisedMatrix& m, const QuantisedRows& x, std::int64_t begin, std::int64_t end, float* sums) {
  PackedWeights packed;
  for (std::int64_t first = 0; first < x.in; first += int4_block) {
    const std::int64_t runs = (std::min(int4_block, x.in - first) + nibble_run - 1) / nibble_run;
    pack_int4<Format>(m, begin, end, first, runs, packed);
    const cpu::NextWeights next = values_behind(m, begin, end, (first + int4_block) / 2, int4_block / 2);
    for (std::int64_t run = 0; run < runs; ++run) {
      // A quarter of the columns and one of their lines: with its 16 runs the block brings all of the next one.
      cpu::NextWeights part = next.share(run / 4, 4);
      part.first += run % 4 * cpu::NextWeights::line;
      part.bytes = std::clamp<std::int64_t>(part.bytes - run % 4 * cpu::NextWeights::line, 0, cpu::NextWeights::line);
      add_group_to_all<nibble_run, true>(packed.quads + run * (nibble_run / 4), packed.scales[run], x,
                                         first / nibble_run + run, sums, part);
    }
  }
}

/// Without the weights' scales, which belong to whole columns.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]] inline void add_int8_products(
    const QuantisedMatrix& m, const QuantisedRows& x, std::int64_t begin, std::int64_t end, float* sums) {
  PackedWeights packed;
  for (std::int64_t g = 0; g < x.groups(); ++g) {
    pack_int8(m, begin, end, g * x.group, x.count(g), packed);
    add_group_to_all<QuantisedRows::int8_group, false>(packed.quads, nullptr, x, g, sums,
                                                       values_behind(m, begin, end, (g + 1) * x.group, x.group));
  }
}

/// The sums [rows, gemm_columns] of the columns [begin, end), scaled where int8 has a scale for each, and with a bias.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] void write_sums(const QuantisedMatrix& m, const float* sums,
                                                                      std::int64_t rows, std::int64_t begin,
                                                                      std::int64_t end, const float* bias, Element* y) {
  constexpr int vectors = PackedWeights::vectors_of_quad;
  __mmask16 masks[vectors];
  __m512 scales[vectors], shifts[vectors];
  for (int v = 0; v < vectors; ++v) {
    const std::int64_t column = begin + v * 16, count = std::clamp<std::int64_t>(end - column, 0, 16);
    masks[v] = static_cast<__mmask16>((1U << count) - 1);
    const bool scaled = m.format == WeightFormat::int8_row && count > 0;
    scales[v] = scaled ? _mm512_maskz_loadu_ps(masks[v], m.scales(column)) : _mm512_set1_ps(1);
    shifts[v] = bias != nullptr && count > 0 ? _mm512_maskz_loadu_ps(masks[v], bias + column) : _mm512_setzero_ps();
  }
  for (std::int64_t row = 0; row < rows; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const __m512 sum = _mm512_loadu_ps(sums + row * gemm_columns + v * 16);
      cpu::store_rounded(y + row * m.out + begin + v * 16, masks[v], _mm512_fmadd_ps(sum, scales[v], shifts[v]));
    }
}

}  // namespace detail

template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]] void quantised_gemm_avx512(
    const QuantisedMatrix& m, const QuantisedRows& x, std::int64_t begin, std::int64_t end, const float* bias,
    Element* y) {
  std::vector<float> sums(static_cast<std::size_t>(x.rows * gemm_columns));
  switch (m.format) {
    case WeightFormat::int8_row:
      detail::add_int8_products(m, x, begin, end, sums.data());
      break;
    case WeightFormat::int4_group32:
      detail::add_int4_products<WeightFormat::int4_group32>(m, x, begin, end, sums.data());
      break;
    case WeightFormat::int4_group128:
      detail::add_int4_products<WeightFormat::int4_group128>(m, x, begin, end, sums.data());
      break;
    case WeightFormat::nf4_group64:
      break;  // no integers
  }
  detail::write_sums(m, sums.data(), x.rows, begin, end, bias, y);
}

#endif

/// The matrix product of this processor, or none where it has no instructions for sums of products of bytes: weights
/// restored to the inputs' type are faster there.
template <class Element>
[[nodiscard]] QuantisedGemm<Element> find_quantised_gemm() {
#if defined(__x86_64__)
  if (cpu::has_avx512_vnni()) return quantised_gemm_avx512<Element>;
#endif
  return nullptr;
}

}  // namespace lisa
