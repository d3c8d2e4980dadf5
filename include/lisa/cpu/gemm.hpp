#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "lisa/cpu/avx512_lanes.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/matrix_product.hpp"
#include "lisa/cpu/next_weights.hpp"
#include "lisa/cpu/processor.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa::cpu {

/// A part of a product's result.
struct GemmPart {
  std::int64_t first_row, end_row;
  std::int64_t first_column, end_column;
};

/// Computes a part of a product of many rows. Parts can be computed in any order and at the same time, and an element
/// is the same in any of them.
/// @tparam Element Bf16Bits or float
template <class Element>
using GemmKernel = void (*)(const MatrixProduct<Element>& product, const GemmPart& part);

/// Columns that a kernel computes together; parts of a multiple of them waste nothing.
inline constexpr std::int64_t gemm_columns = 64;

/// Whether the kernels can compute products of that width.
template <class Element>
[[nodiscard]] bool gemm_takes(std::int64_t inner) {
  return inner > 0 && inner % elements_of_lane<Element> == 0;
}

#if defined(__x86_64__)

namespace detail {

/// Weights of 64 columns in the order of their use: one or two inputs for each of 16 columns in a register.
template <class Element>
struct WeightPanel {
  static constexpr std::int64_t steps = 512;  ///< 128 KiB: with the rows in turn they stay in the second cache
  static constexpr std::int64_t inputs = steps * elements_of_lane<Element>;
  static constexpr int registers = gemm_columns / 16;
  alignas(64) __m512i weights[steps][registers];
};

/// Which weights a panel holds: inputs [first, first + count) of the columns [begin, end).
struct PanelPlace {
  std::int64_t begin, end;
  std::int64_t first, count;
};

/// The panel at `first` of the 64 columns from `begin` on, of a part that ends with the column `end`.
template <class Element>
[[nodiscard]] PanelPlace panel_place(const MatrixProduct<Element>& product, std::int64_t begin, std::int64_t end,
                                     std::int64_t first) {
  return {begin, std::min(end, begin + gemm_columns), first,
          std::min(WeightPanel<Element>::inputs, product.inner - first)};
}

/// Zeros stand for columns that do not exist.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] void pack_panel(const MatrixProduct<Element>& product,
                                                                      const PanelPlace& place,
                                                                      WeightPanel<Element>& to) {
  constexpr std::int64_t line = 16 * elements_of_lane<Element>;
  for (int v = 0; v < WeightPanel<Element>::registers; ++v)
    for (std::int64_t i = 0; i < place.count; i += line) {
      __m512i lines[16];
#pragma GCC unroll 16
      for (int c = 0; c < 16; ++c) {
        const std::int64_t column = place.begin + v * 16 + c;
        lines[c] = column < place.end
                       ? load_lanes(product.weight + column * product.inner + place.first + i, place.count - i)
                       : _mm512_setzero_si512();
      }
      transpose_lanes(lines);
#pragma GCC unroll 16
      for (int k = 0; k < 16; ++k) to.weights[i / elements_of_lane<Element> + k][v] = lines[k];
    }
}

/// Where the sums of some rows with a panel come from and go to.
template <class Element>
struct TileSums {
  float* partial;           // [rows, 64]; of the panels before, and for those behind
  bool first, last;         ///< whether this is the first panel of the inputs, and the last one
  Element* y;               ///< the first row's first column
  std::int64_t y_stride;    ///< from a row to the next
  const float* bias;        // [64]
  const __mmask16* exists;  ///< which of the panel's columns do, for each register
};

/// Adds the products of `Rows` rows with `steps` steps of a panel. Not inlined: amid other loops GCC 12 keeps the sums
/// in memory, which halves the speed.
/// @param x the first row's first input
template <int Rows, class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::noinline]] void add_panel(
    const WeightPanel<Element>& panel, const Element* x, std::int64_t x_stride, std::int64_t steps,
    const TileSums<Element>& at, const NextWeights& next) {
  constexpr int registers = WeightPanel<Element>::registers;
  __m512 sums[Rows][registers];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < registers; ++v)
      sums[r][v] = _mm512_loadu_ps(at.first ? at.bias + v * 16 : at.partial + r * gemm_columns + v * 16);
  for (std::int64_t k = 0; k < steps; ++k) {
    next.fetch(k);
    __m512i weights[registers];
#pragma GCC unroll 4
    for (int v = 0; v < registers; ++v) weights[v] = panel.weights[k][v];
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      std::int32_t lane;
      std::memcpy(&lane, x + r * x_stride + k * elements_of_lane<Element>, sizeof lane);
      const __m512i inputs = _mm512_set1_epi32(lane);
#pragma GCC unroll 4
      for (int v = 0; v < registers; ++v) add_lane_products<Element>(sums[r][v], weights[v], inputs);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < registers; ++v) {
      if (at.last)
        store_rounded(at.y + r * at.y_stride + v * 16, at.exists[v], sums[r][v]);
      else
        _mm512_storeu_ps(at.partial + r * gemm_columns + v * 16, sums[r][v]);
    }
}

/// The same for `rows` rows, the partial sums of which lie one behind the other, each tile of them beside a share of
/// the next weights.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void add_panel_to_all(
    const WeightPanel<Element>& panel, const Element* x, std::int64_t x_stride, std::int64_t steps, std::int64_t rows,
    TileSums<Element> at, const NextWeights& next) {
  constexpr std::int64_t tile = 6;  // 24 sums, four weights and an input leave registers to spare
  const std::int64_t tiles = (rows + tile - 1) / tile;
  for (std::int64_t number = 0; number < rows / tile; ++number) {
    add_panel<tile>(panel, x, x_stride, steps, at, next.share(number, tiles));
    x += tile * x_stride;
    at.partial += tile * gemm_columns;
    at.y += tile * at.y_stride;
  }
  const NextWeights share = next.share(tiles - 1, tiles);
  switch (rows % tile) {
    case 1:
      return add_panel<1>(panel, x, x_stride, steps, at, share);
    case 2:
      return add_panel<2>(panel, x, x_stride, steps, at, share);
    case 3:
      return add_panel<3>(panel, x, x_stride, steps, at, share);
    case 4:
      return add_panel<4>(panel, x, x_stride, steps, at, share);
    case 5:
      return add_panel<5>(panel, x, x_stride, steps, at, share);
    default:
      return;
  }
}

/// The weights of the panel that is packed behind `place`, in a part that ends with the column `end`; none behind the
/// last one.
template <class Element>
[[nodiscard]] NextWeights weights_behind(const MatrixProduct<Element>& product, const PanelPlace& place,
                                         std::int64_t end) {
  const bool same_columns = place.first + place.count < product.inner;
  const std::int64_t begin = same_columns ? place.begin : place.end;
  const PanelPlace next = panel_place(product, begin, end, same_columns ? place.first + place.count : 0);
  if (next.end <= next.begin) return {};
  constexpr std::int64_t size = sizeof(Element);
  return {reinterpret_cast<const std::byte*>(product.weight + next.begin * product.inner + next.first),
          product.inner * size, next.end - next.begin, next.count * size};
}

/// Some rows of up to 64 columns of a part, all inputs.
/// @param panels   one for each `WeightPanel::inputs`  @param packed whether they hold the weights already
/// @param partial  [rows, 64]
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void multiply_columns(
    const MatrixProduct<Element>& product, const GemmPart& part, std::int64_t first_column,
    WeightPanel<Element>* panels, bool packed, float* partial) {
  constexpr int registers = WeightPanel<Element>::registers;
  const PanelPlace columns = panel_place(product, first_column, part.end_column, 0);
  __mmask16 exists[registers];
  for (int v = 0; v < registers; ++v)
    exists[v] =
        static_cast<__mmask16>((1U << std::clamp<std::int64_t>(columns.end - columns.begin - v * 16, 0, 16)) - 1);
  alignas(64) float bias[gemm_columns]{};
  if (product.bias != nullptr)
    for (std::int64_t i = columns.begin; i < columns.end; ++i) bias[i - columns.begin] = to_float(product.bias[i]);
  TileSums<Element> sums{.partial = partial,
                         .first = true,
                         .last = false,
                         .y = product.y + part.first_row * product.columns + first_column,
                         .y_stride = product.columns,
                         .bias = bias,
                         .exists = exists};
  for (std::int64_t first = 0; first < product.inner;
       first += WeightPanel<Element>::inputs, ++panels, sums.first = false) {
    const PanelPlace place = panel_place(product, first_column, part.end_column, first);
    if (!packed) pack_panel(product, place, *panels);
    sums.last = first + place.count == product.inner;
    add_panel_to_all(*panels, product.x + part.first_row * product.inner + first, product.inner,
                     place.count / elements_of_lane<Element>, part.end_row - part.first_row, sums,
                     packed ? NextWeights{} : weights_behind(product, place, part.end_column));
  }
}

}  // namespace detail

template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void gemm_avx512(const MatrixProduct<Element>& product,
                                                                                  const GemmPart& part) {
  using WeightPanel = detail::WeightPanel<Element>;
  constexpr std::int64_t rows_in_turn = 768, inputs_in_turn = 2 * WeightPanel::inputs;
  const std::int64_t depth = (product.inner + WeightPanel::inputs - 1) / WeightPanel::inputs;
  // With few inputs the panels of several columns stay in the cache, and rows that were brought in serve all of them.
  const std::int64_t together = std::max<std::int64_t>(1, inputs_in_turn / product.inner);
  const auto panels = std::make_unique_for_overwrite<WeightPanel[]>(static_cast<std::size_t>(depth * together));
  const auto partial = std::make_unique_for_overwrite<float[]>(
      static_cast<std::size_t>(std::min(rows_in_turn, part.end_row - part.first_row) * gemm_columns));
  const std::int64_t step = together * gemm_columns;
  for (std::int64_t begin = part.first_column; begin < part.end_column; begin += step)
    for (std::int64_t row = part.first_row; row < part.end_row; row += rows_in_turn)
      for (std::int64_t i = 0; i < together && begin + i * gemm_columns < part.end_column; ++i)
        detail::multiply_columns(
            product, {row, std::min(part.end_row, row + rows_in_turn), part.first_column, part.end_column},
            begin + i * gemm_columns, panels.get() + i * depth, row > part.first_row, partial.get());
}

#endif

/// The product that this processor can run faster than ATen's, which lays all weights out anew in memory for each call;
/// nullptr for none. Processors with tiles for matrices (AMX) have something better there.
template <class Element>
[[nodiscard]] GemmKernel<Element> find_gemm() {
#if defined(__x86_64__)
  if (has_avx512_bf16() && !has_amx_bf16()) return gemm_avx512<Element>;
#endif
  return nullptr;
}

}  // namespace lisa::cpu
