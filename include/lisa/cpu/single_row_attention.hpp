#pragma once

#include <cstdint>

#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/causal_attention_head.hpp"

#if defined(__x86_64__)
#include <cstddef>
#include <cstring>
#include <memory>

#include "lisa/cpu/avx512_lanes.hpp"
#endif

namespace lisa::cpu {

#if defined(__x86_64__)

namespace detail {

/// Elements of a register.
template <class Element>
inline constexpr std::int64_t register_elements = 16 * elements_of_lane<Element>;

/// Writes the products of the query with `Count` keys from number `key` on.
template <int Count, class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::noinline]] void write_row_scores(
    const CausalAttentionHead<Element>& head, std::int64_t key, Element* scores) {
  const Element* const keys = head.keys + key * head.head_dim;
  __m512 sums[Count];
#pragma GCC unroll 4
  for (int k = 0; k < Count; ++k) sums[k] = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < head.head_dim; i += register_elements<Element>) {
    const __m512i query = load_lanes(head.queries + i, head.head_dim - i);
#pragma GCC unroll 4
    for (int k = 0; k < Count; ++k)
      add_lane_products<Element>(sums[k], load_lanes(keys + k * head.head_dim + i, head.head_dim - i), query);
  }
  float products[Count];
  store_sums_of_lanes<Count>(sums, products);
  for (int k = 0; k < Count; ++k) scores[k] = rounded_to<Element>(products[k]);
}

/// Adds the shares of one value, fp32, to `Registers` registers of columns.
template <int Registers>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::noinline]] void write_row_values(
    const CausalAttentionHead<float>& head, const float* shares, std::int64_t column) {
  __m512 sums[Registers];
#pragma GCC unroll 8
  for (int i = 0; i < Registers; ++i) sums[i] = _mm512_setzero_ps();
  for (std::int64_t k = 0; k < head.key_count; ++k) {
    const float* const value = head.values + k * head.head_dim + column;
    const __m512i share = _mm512_castps_si512(_mm512_set1_ps(shares[k]));
#pragma GCC unroll 8
    for (int i = 0; i < Registers; ++i)
      add_lane_products<float>(sums[i], _mm512_castps_si512(_mm512_loadu_ps(value + 16 * i)), share);
  }
#pragma GCC unroll 8
  for (int i = 0; i < Registers; ++i) _mm512_storeu_ps(head.out + column + 16 * i, sums[i]);
}

/// The same in bf16: values are taken in pairs, two neighbours of a column in a lane.
template <int Registers>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::noinline]] void write_row_values(
    const CausalAttentionHead<Bf16Bits>& head, const Bf16Bits* shares, std::int64_t column) {
  __m512 sums[Registers];
#pragma GCC unroll 8
  for (int i = 0; i < Registers; ++i) sums[i] = _mm512_setzero_ps();
  for (std::int64_t k = 0; k < head.key_count; k += 2) {
    std::int32_t pair;  // the shares have a zero behind the last
    std::memcpy(&pair, shares + k, sizeof pair);
    const __m512i share = _mm512_set1_epi32(pair);
#pragma GCC unroll 8
    for (int i = 0; i < Registers; ++i)
      add_lane_products<Bf16Bits>(sums[i], value_pair_lanes(head, k, column + 16 * i), share);
  }
#pragma GCC unroll 8
  for (int i = 0; i < Registers; ++i) store_rounded(head.out + column + 16 * i, 0xffff, sums[i]);
}

/// All columns from `column` on, eight registers of them at a time.
template <int Registers, class Element>
void write_all_row_values(const CausalAttentionHead<Element>& head, const Element* shares, std::int64_t column) {
  for (; column + 16 * Registers <= head.head_dim; column += 16 * Registers)
    write_row_values<Registers>(head, shares, column);
  if constexpr (Registers > 1) write_all_row_values<Registers / 2>(head, shares, column);
}

}  // namespace detail

/// Attention of a head with one row, which reads every key and every value once, as they lie there.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void single_row_attention_avx512(
    const CausalAttentionHead<Element>& head) {
  const std::int64_t padded = (head.key_count + 16) / 16 * 16;  // with a zero behind the last share
  const auto scores = std::make_unique_for_overwrite<Element[]>(static_cast<std::size_t>(padded));
  const auto powers = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(padded));
  std::int64_t key = 0;
  for (; key + 4 <= head.key_count; key += 4) detail::write_row_scores<4>(head, key, scores.get() + key);
  for (; key < head.key_count; ++key) detail::write_row_scores<1>(head, key, scores.get() + key);
  detail::causal_softmax(scores.get(), head.key_count, padded, head.scale, powers.get());
  detail::write_all_row_values<8>(head, scores.get(), 0);
}

#endif

}  // namespace lisa::cpu
