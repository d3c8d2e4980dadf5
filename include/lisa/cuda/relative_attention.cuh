#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/element.hpp"
#include "lisa/cuda/launch_geometry.hpp"

// What the kernels of attention with decomposed relative positions share: their arguments, tiles in shared memory, and
// fragments of the matrix products.

namespace lisa::cuda {

/// Attention over a grid of tokens with decomposed relative positions (SAM's image encoder):
/// softmax(scale q.k + q.rel_h[query row - key row] + q.rel_w[query column - key column]) v, with the unscaled q in the
/// position terms. Sums are fp32; the softmax's weights are rounded to Element for the product with v.
/// Strides are in elements, so that q, k and v may be parts of one projection's output.
/// @tparam Element Bf16 or Fp16
template <class Element>
struct RelativeAttentionArguments {
  const Element* q;  // [batch, grid_height * grid_width, heads, head_dim] by the input strides; finite, as all inputs
  const Element* k;
  const Element* v;
  const Element*
      rel_h;  // [2 * rows - 1, head_dim], contiguous: distance d in row d + rows - 1; rows: of the grid or window
  const Element* rel_w;  // [2 * columns - 1, head_dim]
  Element* out;          // [batch, grid_height * grid_width, heads, head_dim] by the output strides
  std::int64_t batch_stride, token_stride, head_stride;              // of q, k and v
  std::int64_t out_batch_stride, out_token_stride, out_head_stride;  // of out
  float scale;                                                       // positive; head_dim^-0.5
  int batch, heads, grid_height, grid_width;
  int head_dim;
};

/// Whether rows that start at `pointer` plus multiples of `stride` elements can be read 16 bytes at a time.
template <class Element>
[[nodiscard]] inline bool rows_aligned(const Element* pointer, std::int64_t stride) {
  return reinterpret_cast<std::uintptr_t>(pointer) % sizeof(Vector16) == 0 &&
         stride % static_cast<std::int64_t>(sizeof(Vector16) / sizeof(Element)) == 0;
}

/// What both kernels refuse, in words; nullptr where there is nothing.
template <class Element>
[[nodiscard]] inline const char* relative_attention_refusal(const RelativeAttentionArguments<Element>& a) {
  if (a.head_dim != 64 && a.head_dim != 80) return "relative attention: head_dim must be 64 or 80";
  if (a.batch < 0 || a.batch > 65535 || a.heads < 1 || a.heads > 65535)
    return "relative attention: takes 0 to 65535 images and 1 to 65535 heads";
  if (!(a.scale > 0.0F)) return "relative attention: the scale must be positive";
  // Named arrays: nvcc 13 garbles a loop over braces in a template before it gives it to the host's compiler.
  const Element* const inputs[] = {a.q, a.k, a.v};
  const std::int64_t strides[] = {a.batch_stride, a.token_stride, a.head_stride};
  for (const Element* const input : inputs)
    for (const std::int64_t stride : strides)
      if (!rows_aligned(input, stride))
        return "relative attention: q, k and v must start at multiples of 16 bytes, with strides of whole 16 bytes";
  const std::int64_t out_strides[] = {a.out_batch_stride, a.out_token_stride, a.out_head_stride};
  for (const std::int64_t stride : out_strides)
    if (!rows_aligned(a.out, stride))
      return "relative attention: out must start at a multiple of 16 bytes, with strides of whole 16 bytes";
  if (!rows_aligned(a.rel_h, 0) || !rows_aligned(a.rel_w, 0))
    return "relative attention: the tables of relative positions must start at multiples of 16 bytes";
  return nullptr;
}

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

/// Turns products of queries with the table's rows into position terms: scratch [16, pitch] takes what belongs to
/// distance d in column d, and `terms` [16, 8 * tiles] gets, for the query at `position(row)` and key n, what belongs
/// to the distance between them, over `scale`; minus infinity from `keys` on, which takes those keys out of the
/// softmax.
template <class Dev, int table_tiles, int tiles, class Position>
LISA_DEVICE void skew_terms(float (&terms)[tiles][4], const float (&products)[table_tiles][4], float* scratch,
                            int pitch, int lane, int keys, float scale, Position position) {
#pragma unroll
  for (int tile = 0; tile < table_tiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      scratch[fragment_row(lane, i) * pitch + tile * 8 + fragment_column(lane, i)] = products[tile][i];
  Dev::sync_warp();
  const float inverse = 1.0F / scale;
#pragma unroll
  for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = fragment_row(lane, i), key = tile * 8 + fragment_column(lane, i);
      terms[tile][i] = key < keys ? scratch[row * pitch + position(row) - key + keys - 1] * inverse : -INFINITY;
    }
}

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
