#pragma once

#include <cstdint>

#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/causal_attention_head.hpp"
#include "lisa/cpu/processor.hpp"
#include "lisa/cpu/single_row_attention.hpp"

#if defined(__x86_64__)
#include <algorithm>
#include <cstddef>
#include <memory>

#include "lisa/cpu/avx512_lanes.hpp"
#include "lisa/cpu/gemm.hpp"
#include "lisa/cpu/matrix_product.hpp"
#endif

namespace lisa::cpu {

/// Computes the rows [begin, end) of a head. An element is the same in any part.
template <class Element>
using CausalAttentionKernel = void (*)(const CausalAttentionHead<Element>& head, std::int64_t begin, std::int64_t end);

/// Rows that a kernel computes together; parts of a multiple of them waste nothing.
inline constexpr std::int64_t causal_attention_rows = 384;

/// Whether the kernels can compute heads of that width.
[[nodiscard]] constexpr bool causal_attention_takes(std::int64_t head_dim) {
  return head_dim > 0 && head_dim % 16 == 0 && head_dim <= 256;
}

#if defined(__x86_64__)

namespace detail {

/// Writes the products of rows [begin, end) with the keys that any of them sees, in panels of 64 keys; a row of scores
/// is `stride` long. Rows that see nothing of a panel are left out.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void write_causal_scores(
    const CausalAttentionHead<Element>& head, std::int64_t begin, std::int64_t end, std::int64_t stride,
    WeightPanel<Element>& panel, Element* scores) {
  const MatrixProduct<Element> keys{nullptr, head.keys, nullptr, nullptr, 0, head.head_dim, head.key_count};
  alignas(64) static constexpr float no_bias[gemm_columns]{};
  float unused = 0;  // one panel holds all of a key
  constexpr __mmask16 all[WeightPanel<Element>::registers]{0xffff, 0xffff, 0xffff, 0xffff};
  const std::int64_t seen = visible_keys(head, end - 1);
  for (std::int64_t first = 0; first < seen; first += gemm_columns) {
    pack_panel(keys, panel_place(keys, first, head.key_count, 0), panel);
    const std::int64_t row = std::max(begin, first - visible_keys(head, 0) + 1);
    const TileSums<Element> sums{.partial = &unused,
                                 .first = true,
                                 .last = true,
                                 .y = scores + (row - begin) * stride + first,
                                 .y_stride = stride,
                                 .bias = no_bias,
                                 .exists = all};
    add_panel_to_all(panel, head.queries + row * head.query_stride, head.query_stride,
                     head.head_dim / elements_of_lane<Element>, end - row, sums, NextWeights{});
  }
}

/// Values [first, first + count) in the order of their use by a product with shares: 64 columns from `column` on. A
/// column or value that does not exist is 0.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] inline void pack_values(
    const CausalAttentionHead<float>& head, std::int64_t first, std::int64_t count, std::int64_t column,
    WeightPanel<float>& panel) {
  const int registers = static_cast<int>(std::min<std::int64_t>(4, (head.head_dim - column) / 16));
  for (std::int64_t k = 0; k < count; ++k)
    for (int v = 0; v < 4; ++v)
      panel.weights[k][v] =
          v < registers
              ? _mm512_castps_si512(_mm512_loadu_ps(head.values + (first + k) * head.head_dim + column + 16 * v))
              : _mm512_setzero_si512();
}
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] inline void pack_values(
    const CausalAttentionHead<Bf16Bits>& head, std::int64_t first, std::int64_t count, std::int64_t column,
    WeightPanel<Bf16Bits>& panel) {
  const int registers = static_cast<int>(std::min<std::int64_t>(4, (head.head_dim - column) / 16));
  for (std::int64_t k = 0; 2 * k < count; ++k)
    for (int v = 0; v < 4; ++v)
      panel.weights[k][v] =
          v < registers ? value_pair_lanes(head, first + 2 * k, column + 16 * v) : _mm512_setzero_si512();
}

/// Writes 64 columns of the rows [begin, end): their shares of the values. Some rows at a time take no more values than
/// the last of them sees.
/// @param partial [end - begin, 64]
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void add_shared_values(
    const CausalAttentionHead<Element>& head, std::int64_t begin, std::int64_t end, const Element* shares,
    std::int64_t stride, std::int64_t column, WeightPanel<Element>& panel, float* partial) {
  constexpr std::int64_t together = 48, lane = elements_of_lane<Element>;
  alignas(64) static constexpr float no_bias[gemm_columns]{};
  __mmask16 exists[WeightPanel<Element>::registers];
  for (int v = 0; v < WeightPanel<Element>::registers; ++v) exists[v] = column + 16 * v < head.head_dim ? 0xffff : 0;
  const std::int64_t seen = visible_keys(head, end - 1);
  for (std::int64_t first = 0; first < seen; first += WeightPanel<Element>::inputs) {
    const std::int64_t count = std::min(WeightPanel<Element>::inputs, seen - first);
    pack_values(head, first, count, column, panel);
    for (std::int64_t row = begin; row < end; row += together) {
      const std::int64_t last_row = std::min(end, row + together), sees = visible_keys(head, last_row - 1) - first;
      if (sees <= 0) continue;
      const TileSums<Element> sums{.partial = partial + (row - begin) * gemm_columns,
                                   .first = first == 0,
                                   .last = sees <= WeightPanel<Element>::inputs,
                                   .y = head.out + row * head.out_stride + column,
                                   .y_stride = head.out_stride,
                                   .bias = no_bias,
                                   .exists = exists};
      add_panel_to_all(panel, shares + (row - begin) * stride + first, stride,
                       (std::min(count, sees) + lane - 1) / lane, last_row - row, sums, NextWeights{});
    }
  }
}

}  // namespace detail

template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void causal_attention_avx512(
    const CausalAttentionHead<Element>& head, std::int64_t begin, std::int64_t end) {
  using namespace detail;
  if (head.rows == 1 && begin < end) return single_row_attention_avx512(head);
  const std::int64_t most = std::min(causal_attention_rows, end - begin);
  const std::int64_t stride = (visible_keys(head, end - 1) + gemm_columns - 1) / gemm_columns * gemm_columns;
  const auto panel = std::make_unique_for_overwrite<WeightPanel<Element>>();
  const auto scores = std::make_unique_for_overwrite<Element[]>(static_cast<std::size_t>(most * stride));
  const auto partial = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(most * gemm_columns));
  const auto powers = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(stride));
  for (; begin < end; begin += most) {
    const std::int64_t last = std::min(end, begin + most);
    write_causal_scores(head, begin, last, stride, *panel, scores.get());
    const std::int64_t padded = (visible_keys(head, last - 1) + 15) / 16 * 16;
    for (std::int64_t row = begin; row < last; ++row)
      causal_softmax(scores.get() + (row - begin) * stride, visible_keys(head, row), padded, head.scale, powers.get());
    for (std::int64_t column = 0; column < head.head_dim; column += gemm_columns)
      add_shared_values(head, begin, last, scores.get(), stride, column, *panel, partial.get());
  }
}

#endif

/// The attention that this processor can run faster than single operators do; nullptr for none.
template <class Element>
[[nodiscard]] CausalAttentionKernel<Element> find_causal_attention() {
#if defined(__x86_64__)
  if (has_avx512_bf16()) return causal_attention_avx512<Element>;
#endif
  return nullptr;
}

}  // namespace lisa::cpu
