#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/element.hpp"
#include "lisa/cuda/element_vector.cuh"
#include "lisa/cuda/launch_geometry.hpp"

// What all attention kernels share: tiles of tokens in shared memory and fragments of the matrix products.

namespace lisa::cuda {

inline constexpr float log2_of_e = 1.44269504F;

/// Rows of head_dim elements in shared memory. 16 more bytes than their contents lie between rows, an odd number of
/// 16-byte units, so that the eight rows of a matrix load are in different banks.
template <class Element, int head_dim>
struct TokenRows {
  static_assert(head_dim % 16 == 0, "TokenRows: head_dim must be a multiple of 16, the depth of a matrix product");
  static constexpr int chunk = sizeof(Vector16) / sizeof(Element);  ///< elements that are copied at a time
  static constexpr int chunks = head_dim / chunk;                   ///< of a row
  static constexpr int pitch = head_dim + chunk;                    ///< elements from row to row
  static constexpr int row_bytes = pitch * static_cast<int>(sizeof(Element));

  Element* begin;

  LISA_DEVICE Element* at(int row, int column) const { return begin + row * pitch + column; }
};

/// Copies `count` rows by `threads` threads, of which this is number `thread`. `source(row)` is the row's address in
/// global memory, nullptr for a row of zeros. The copies are left uncommitted.
template <class Dev, class Element, int head_dim, class Source>
LISA_DEVICE void copy_rows(const TokenRows<Element, head_dim>& to, int count, int thread, int threads, Source source) {
  using Rows = TokenRows<Element, head_dim>;
  for (int i = thread; i < count * Rows::chunks; i += threads) {
    const int row = i / Rows::chunks, column = i % Rows::chunks * Rows::chunk;
    const Element* const from = source(row);
    Dev::copy_async(to.at(row, column), from == nullptr ? nullptr : from + column, from != nullptr);
  }
}

/// A warp's 16 rows of the left operand, in registers: for each depth of 16 one fragment.
template <int head_dim>
struct LeftRows {
  std::uint32_t fragments[head_dim / 16][4];
};

template <class Dev, class Element, int head_dim>
LISA_DEVICE LeftRows<head_dim> load_left_rows(const TokenRows<Element, head_dim>& rows, int first, int lane) {
  LeftRows<head_dim> left;
#pragma unroll
  for (int depth = 0; depth < head_dim / 16; ++depth)
    Dev::load_matrix(left.fragments[depth], rows.at(first + lane % 16, depth * 16 + lane / 16 * 8));
  return left;
}

/// sums [16, 8 * tiles] += left rows^T: products of the warp's rows with `8 * tiles` rows in shared memory.
/// @param row_of row of `rows` that column n of the product takes
template <class Dev, class Element, int head_dim, int tiles, class RowOf>
LISA_DEVICE void multiply_rows(float (&sums)[tiles][4], const LeftRows<head_dim>& left,
                               const TokenRows<Element, head_dim>& rows, int lane, RowOf row_of) {
  static_assert(tiles % 2 == 0, "multiply_rows: a matrix load brings two tiles");
#pragma unroll
  for (int depth = 0; depth < head_dim / 16; ++depth)
#pragma unroll
    for (int pair = 0; pair < tiles / 2; ++pair) {
      std::uint32_t right[4];
      Dev::load_matrix(right, rows.at(row_of(pair * 16 + lane / 16 * 8 + lane % 8), depth * 16 + lane / 8 % 2 * 8));
      const std::uint32_t first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
      Dev::template multiply<Element>(sums[2 * pair], left.fragments[depth], first);
      Dev::template multiply<Element>(sums[2 * pair + 1], left.fragments[depth], second);
    }
}

/// sums [16, head_dim] += weights [16, 16] values, for 16 rows of values in shared memory.
/// @param row_of row of `values` that depth k of the product takes
template <class Dev, class Element, int head_dim, class RowOf>
LISA_DEVICE void multiply_values(float (&sums)[head_dim / 8][4], const std::uint32_t (&weights)[4],
                                 const TokenRows<Element, head_dim>& values, int lane, RowOf row_of) {
#pragma unroll
  for (int pair = 0; pair < head_dim / 16; ++pair) {
    std::uint32_t right[4];
    Dev::load_matrix_transposed(right, values.at(row_of(lane % 16), pair * 16 + lane / 16 * 8));
    const std::uint32_t first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
    Dev::template multiply<Element>(sums[2 * pair], weights, first);
    Dev::template multiply<Element>(sums[2 * pair + 1], weights, second);
  }
}

/// Of a lane's four sums of a 16x8 tile, number i is in this row and column of it.
LISA_DEVICE int fragment_row(int lane, int i) { return lane / 4 + i / 2 * 8; }
LISA_DEVICE int fragment_column(int lane, int i) { return lane % 4 * 2 + i % 2; }

/// Over the four lanes that share a row of a tile.
template <class Dev>
LISA_DEVICE float row_maximum(float value) {
  value = fmaxf(value, Dev::shuffle_xor(value, 1));
  return fmaxf(value, Dev::shuffle_xor(value, 2));
}
template <class Dev>
LISA_DEVICE float row_sum(float value) {
  value += Dev::shuffle_xor(value, 1);
  return value + Dev::shuffle_xor(value, 2);
}

/// sums [16, head_dim] += weights [16, 8 * tiles] values, the weights rounded to Element, for as many rows of values in
/// shared memory from their first on.
template <class Dev, class Element, int head_dim, int tiles>
LISA_DEVICE void multiply_weights(float (&sums)[head_dim / 8][4], const float (&weights)[tiles][4],
                                  const TokenRows<Element, head_dim>& values, int lane) {
  static_assert(tiles % 2 == 0, "multiply_weights: the depth of a product is two tiles");
#pragma unroll
  for (int depth = 0; depth < tiles / 2; ++depth) {
    const float(&near)[4] = weights[2 * depth];
    const float(&far)[4] = weights[2 * depth + 1];
    const std::uint32_t packed[4] = {
        Dev::template pack<Element>(near[0], near[1]), Dev::template pack<Element>(near[2], near[3]),
        Dev::template pack<Element>(far[0], far[1]), Dev::template pack<Element>(far[2], far[3])};
    multiply_values<Dev>(sums, packed, values, lane, [&](int row) { return depth * 16 + row; });
  }
}

/// A lane's part of the softmax over the keys so far, for its two rows of a tile.
struct SoftmaxRows {
  float maximum[2] = {-INFINITY, -INFINITY};  // of the scores, in units of log2
  float weight_sum[2] = {0.0F, 0.0F};         // of this lane's columns

  /// Turns products of queries and keys into weights relative to the maximum so far, which must be finite after this
  /// tile. What earlier weights gave must be multiplied by `shrink`.
  /// @param row_terms added to the scaled scores of the lane's two rows, in units of log2
  template <class Dev, int tiles>
  LISA_DEVICE void weigh(float (&scores)[tiles][4], float to_log2, const float (&row_terms)[2], float (&shrink)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = -INFINITY;
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile)
        largest = fmaxf(largest, fmaxf(scores[tile][2 * half], scores[tile][2 * half + 1]));
      const float now = fmaxf(maximum[half], row_maximum<Dev>(largest) * to_log2 + row_terms[half]);
      shrink[half] = Dev::exp2(maximum[half] - now);  // 0 for the first tile
      maximum[half] = now;
      const float shift = row_terms[half] - now;
      weight_sum[half] *= shrink[half];
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[tile][i] = Dev::exp2(scores[tile][i] * to_log2 + shift);
          weight_sum[half] += scores[tile][i];
        }
    }
  }
};

/// Rows of sums beside their softmax: all that a warp keeps from tile to tile.
template <int head_dim>
struct RunningSoftmax : SoftmaxRows {
  float sums[head_dim / 8][4] = {};  // of weighted values

  /// As `SoftmaxRows::weigh`; rescales what there is.
  template <class Dev, int tiles>
  LISA_DEVICE void weigh(float (&scores)[tiles][4], float to_log2, const float (&row_terms)[2] = {0.0F, 0.0F}) {
    float shrink[2];
    SoftmaxRows::weigh<Dev>(scores, to_log2, row_terms, shrink);
#pragma unroll
    for (int tile = 0; tile < head_dim / 8; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[tile][i] *= shrink[i / 2];
  }
};

/// A warp's 16 rows of results: through `scratch`, 16 rows of shared memory of the warp's own, to global memory, 16
/// bytes at a time. `destination(row)` is the row's address, nullptr for a row that is not wanted.
template <class Dev, class Element, int head_dim, class Destination>
LISA_DEVICE void store_rows(const float (&sums)[head_dim / 8][4], const float (&factors)[2],
                            const TokenRows<Element, head_dim>& scratch, int lane, Destination destination) {
  using Rows = TokenRows<Element, head_dim>;
#pragma unroll
  for (int tile = 0; tile < head_dim / 8; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      *reinterpret_cast<ElementPair*>(scratch.at(fragment_row(lane, 2 * half), tile * 8 + fragment_column(lane, 0))) =
          Dev::template pack<Element>(sums[tile][2 * half] * factors[half], sums[tile][2 * half + 1] * factors[half]);
  Dev::sync_warp();
#pragma unroll
  for (int i = lane; i < 16 * Rows::chunks; i += 32) {
    const int row = i / Rows::chunks, column = i % Rows::chunks * Rows::chunk;
    Element* const to = destination(row);
    if (to != nullptr) Dev::store16(to + column, Dev::load16(scratch.at(row, column)));
  }
}

}  // namespace lisa::cuda
