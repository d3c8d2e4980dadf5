#pragma once

#include <cstdint>

#include "lisa/cpu/bfloat16.hpp"

#if defined(__x86_64__)
#include <algorithm>
#include <limits>

#include "lisa/cpu/attention_lanes.hpp"
#include "lisa/cpu/avx512_lanes.hpp"
#endif

namespace lisa::cpu {

/// Causal attention of one head: query row i sees the first keys - rows + i + 1 keys. Rounded to `Element` where single
/// operators round: products of queries and keys, their quotients by the root of head_dim, the softmax, and the result;
/// sums are fp32.
/// @tparam Element Bf16Bits or float
template <class Element>
struct CausalAttentionHead {
  const Element* queries;  // [rows, head_dim], rows query_stride apart
  std::int64_t query_stride;
  const Element* keys;    // [key_count, head_dim], one behind the other
  const Element* values;  // as keys
  Element* out;           // [rows, head_dim], rows out_stride apart
  std::int64_t out_stride;
  std::int64_t rows, key_count, head_dim;
  float scale;  ///< the root of head_dim
};

#if defined(__x86_64__)

namespace detail {

/// Keys that the row sees.
template <class Element>
[[nodiscard]] std::int64_t visible_keys(const CausalAttentionHead<Element>& head, std::int64_t row) {
  return head.key_count - head.rows + row + 1;
}

/// The softmax of the first `count` scores over `scale`, in place; what follows up to `padded`, a multiple of 16, is 0.
/// @param powers  room for `padded` numbers
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::noinline]] void causal_softmax(
    Element* scores, std::int64_t count, std::int64_t padded, float scale, float* powers) {
  const __m512 divisor = _mm512_set1_ps(scale);
  const auto exist = [count](std::int64_t i) {
    return static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1U << std::max<std::int64_t>(0, count - i)) - 1);
  };
  __m512 highest = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  for (std::int64_t i = 0; i < count; i += 16) {
    __m512 score = _mm512_maskz_div_ps(0xffff, load_elements(scores + i, exist(i)), divisor);
    if constexpr (sizeof(Element) < sizeof(float)) score = rounded_lanes(score);
    score = _mm512_mask_mov_ps(_mm512_set1_ps(-std::numeric_limits<float>::infinity()), exist(i), score);
    _mm512_storeu_ps(powers + i, score);
    highest = larger(highest, score);
  }
  const __m512 top = _mm512_set1_ps(largest_of_lanes(highest));
  __m512 sums = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < count; i += 16) {
    const __m512 power = exp_lanes(_mm512_sub_ps(_mm512_loadu_ps(powers + i), top));
    _mm512_storeu_ps(powers + i, power);
    sums = _mm512_add_ps(sums, power);
  }
  const __m512 sum = _mm512_set1_ps(sum_of_lanes(sums));
  for (std::int64_t i = 0; i < count; i += 16)
    store_rounded(scores + i, 0xffff, _mm512_maskz_div_ps(0xffff, _mm512_loadu_ps(powers + i), sum));
  for (std::int64_t i = (count + 15) / 16 * 16; i < padded; i += 16)
    store_rounded(scores + i, 0xffff, _mm512_setzero_ps());
}

/// 16 columns of a value, in the lower halves of the lanes.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] inline __m512i value_lanes(
    const CausalAttentionHead<Bf16Bits>& head, std::int64_t value, std::int64_t column) {
  if (value >= head.key_count) return _mm512_setzero_si512();
  const Bf16Bits* const from = head.values + value * head.head_dim + column;
  return _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

/// 16 columns of a value and of the next one, which are neighbours in a lane. A value that does not exist is 0.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] inline __m512i value_pair_lanes(
    const CausalAttentionHead<Bf16Bits>& head, std::int64_t value, std::int64_t column) {
  return _mm512_or_si512(value_lanes(head, value, column),
                         _mm512_maskz_slli_epi32(0xffff, value_lanes(head, value + 1, column), 16));
}

}  // namespace detail

#endif

}  // namespace lisa::cpu
