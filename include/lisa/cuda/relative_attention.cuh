#pragma once

#include <cmath>
#include <cstdint>

#include "lisa/cuda/attention_tiles.cuh"

// What the kernels of attention with decomposed relative positions share: their arguments and position terms.

namespace lisa::cuda {

/// Attention over a grid of tokens with decomposed relative positions (SAM's image encoder):
/// softmax(scale q.k + q.rel_h[query row - key row] + q.rel_w[query column - key column]) v, with the unscaled q in the
/// position terms. Sums are fp32; the softmax's weights are rounded to Element for the product with v.
/// Strides are in elements, so that q, k and v may be parts of one projection's output.
/// @tparam Element Bf16 or Fp16; float for the reference
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

/// Puts a warp's products [16, 8 * tiles] into `scratch` [16, pitch], from column `first` on.
template <int tiles>
LISA_DEVICE void store_products(float* scratch, int pitch, int first, const float (&products)[tiles][4], int lane) {
#pragma unroll
  for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      scratch[fragment_row(lane, i) * pitch + first + tile * 8 + fragment_column(lane, i)] = products[tile][i];
}

/// Position terms from the products of queries with a table's rows: scratch [16, pitch] has what belongs to distance d
/// in column d, and `terms` [16, 8 * tiles] gets, for the query at `position(row)` and key n, what belongs to the
/// distance between them, over `scale`; minus infinity from `keys` on, which takes those keys out of the softmax.
template <int tiles, class Position>
LISA_DEVICE void read_skewed(float (&terms)[tiles][4], const float* scratch, int pitch, int lane, int keys, float scale,
                             Position position) {
  const float inverse = 1.0F / scale;
#pragma unroll
  for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = fragment_row(lane, i), key = tile * 8 + fragment_column(lane, i);
      terms[tile][i] = key < keys ? scratch[row * pitch + position(row) - key + keys - 1] * inverse : -INFINITY;
    }
}

/// `read_skewed` of a warp's products, through `scratch`.
template <class Dev, int table_tiles, int tiles, class Position>
LISA_DEVICE void skew_terms(float (&terms)[tiles][4], const float (&products)[table_tiles][4], float* scratch,
                            int pitch, int lane, int keys, float scale, Position position) {
  store_products(scratch, pitch, 0, products, lane);
  Dev::sync_warp();
  read_skewed(terms, scratch, pitch, lane, keys, scale, position);
}

}  // namespace lisa::cuda
