#pragma once

#include <cstdint>

#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/processor.hpp"

#if defined(__x86_64__)
#include <algorithm>
#include <limits>
#include <vector>

#include "lisa/cpu/attention_lanes.hpp"
#include "lisa/cpu/avx512_lanes.hpp"
#endif

namespace lisa::cpu {

/// Attention between a handful of tokens and all pixels of a picture, in either direction, as SAM's mask decoder has
/// it: softmax(q k^T / 4) v for every head of width 16. Elements are rounded after every step (product, quotient,
/// softmax, product), as operators do that are called one after the other; sums are fp32. Rows lie one behind the other
/// with their heads side by side, as linear layers make and take them, so that nothing is rearranged.
template <class Element>
struct FewTokenAttention {
  const Element* queries;  // [pixels or tokens, heads * 16]
  const Element* keys;     // [tokens or pixels, heads * 16]
  const Element* values;   // as keys
  Element* out;            // as queries
  std::int64_t pixels;
  std::int64_t tokens;  ///< at most `most_few_tokens`
  std::int64_t heads;
};

inline constexpr std::int64_t few_token_head_width = 16;
inline constexpr std::int64_t most_few_tokens = 16;
/// Pixels that take each step together.
inline constexpr std::int64_t few_token_pixels = 16;

/// Pixels attend to tokens, for the groups [begin, end) of `few_token_pixels` pixels; or tokens to pixels, for the
/// heads [begin, end).
template <class Element>
using FewTokenAttentionKernel = void (*)(const FewTokenAttention<Element>& attention, std::int64_t begin,
                                         std::int64_t end);

#if defined(__x86_64__)

namespace detail {

/// 16 x 16 values: a row for each element of a head, a lane for each pixel, or the other way round.
struct alignas(64) LaneTile {
  float at[16][16];
};

/// What an operator that ends here leaves of a value.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] inline __m512 as_element(
    __m512 values) {
  if constexpr (sizeof(Element) == sizeof(float))
    return values;
  else
    return rounded_lanes(values);
}

/// One head of up to 16 rows, transposed: lane i of row w is element w of row i; rows from `count` on are zero.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::noinline]] void load_transposed(
    const Element* rows, std::int64_t stride, std::int64_t count, LaneTile& tile) {
  __m512i lanes[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i)
    lanes[i] = i < count ? _mm512_castps_si512(load_elements(rows + i * stride)) : _mm512_setzero_si512();
  transpose_lanes(lanes);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_store_ps(tile.at[i], _mm512_castsi512_ps(lanes[i]));
}

/// The other way: lane i of row w becomes element w of row i, rounded.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::noinline]] void store_transposed(
    const LaneTile& tile, Element* rows, std::int64_t stride, std::int64_t count) {
  __m512i lanes[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) lanes[i] = _mm512_castps_si512(_mm512_load_ps(tile.at[i]));
  transpose_lanes(lanes);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i)
    if (i < count) store_rounded(rows + i * stride, 0xffff, _mm512_castsi512_ps(lanes[i]));
}

/// Four sums of a tile's rows, each weighted by another column of `weights` [16, 4].
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::noinline]] inline void weigh_rows(
    const LaneTile& tile, const float* weights, std::int64_t rows, __m512 (&sums)[4]) {
  __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
  for (std::int64_t row = 0; row < rows; ++row) {
    const __m512 x = _mm512_load_ps(tile.at[row]);
    a = _mm512_fmadd_ps(x, _mm512_set1_ps(weights[4 * row]), a);
    b = _mm512_fmadd_ps(x, _mm512_set1_ps(weights[4 * row + 1]), b);
    c = _mm512_fmadd_ps(x, _mm512_set1_ps(weights[4 * row + 2]), c);
    d = _mm512_fmadd_ps(x, _mm512_set1_ps(weights[4 * row + 3]), d);
  }
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

/// One head of all tokens, four tokens or elements side by side as `weigh_rows` takes them. Absent tokens are zero.
struct TokenHead {
  float by_element[4][16][4];  ///< [group of tokens][element][token]
  float by_token[4][16][4];    ///< [group of elements][token][element]
};

template <class Element>
void gather_head(const Element* rows, std::int64_t stride, std::int64_t tokens, TokenHead& head) {
  for (std::int64_t token = 0; token < most_few_tokens; ++token)
    for (std::int64_t i = 0; i < few_token_head_width; ++i) {
      const float value = token < tokens ? to_float(rows[token * stride + i]) : 0;
      head.by_element[token / 4][i][token % 4] = value;
      head.by_token[i / 4][token][i % 4] = value;
    }
}

/// Scores of 16 pixels, a row for each token: rounded products, a quarter of them.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void write_scores(const LaneTile& pixels,
                                                                                   const TokenHead& tokens,
                                                                                   std::int64_t count,
                                                                                   LaneTile& scores) {
  __m512 sums[4];
  for (std::int64_t first = 0; first < count; first += 4) {
    weigh_rows(pixels, &tokens.by_element[first / 4][0][0], few_token_head_width, sums);
    for (int i = 0; i < 4; ++i)
      _mm512_store_ps(scores.at[first + i],
                      as_element<Element>(_mm512_mul_ps(as_element<Element>(sums[i]), _mm512_set1_ps(0.25F))));
  }
}

/// Each lane's softmax over the first `count` rows, in place.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void softmax_over_rows(LaneTile& scores,
                                                                                        std::int64_t count) {
  __m512 highest = _mm512_load_ps(scores.at[0]), sum = _mm512_setzero_ps();
  for (std::int64_t row = 1; row < count; ++row) highest = larger(highest, _mm512_load_ps(scores.at[row]));
  for (std::int64_t row = 0; row < count; ++row) {
    const __m512 power = exp_lanes(_mm512_sub_ps(_mm512_load_ps(scores.at[row]), highest));
    sum = _mm512_add_ps(sum, power);
    _mm512_store_ps(scores.at[row], power);
  }
  for (std::int64_t row = 0; row < count; ++row)
    _mm512_store_ps(scores.at[row], as_element<Element>(_mm512_div_ps(_mm512_load_ps(scores.at[row]), sum)));
}

/// The softmax of a token's scores over all pixels, in place; `count` is a multiple of 16.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::noinline]] void softmax_of_scores(
    float* scores, std::int64_t count) {
  __m512 highest = _mm512_loadu_ps(scores), sums = _mm512_setzero_ps();
  for (std::int64_t i = 16; i < count; i += 16) highest = larger(highest, _mm512_loadu_ps(scores + i));
  const __m512 top = _mm512_set1_ps(largest_of_lanes(highest));
  for (std::int64_t i = 0; i < count; i += 16) {
    const __m512 power = exp_lanes(_mm512_sub_ps(_mm512_loadu_ps(scores + i), top));
    sums = _mm512_add_ps(sums, power);
    _mm512_storeu_ps(scores + i, power);
  }
  const __m512 sum = _mm512_set1_ps(sum_of_lanes(sums));
  for (std::int64_t i = 0; i < count; i += 16)
    _mm512_storeu_ps(scores + i, as_element<Element>(_mm512_div_ps(_mm512_loadu_ps(scores + i), sum)));
}

/// Adds the values of 16 pixels, each weighted by four tokens' shares of it, which lie `stride` apart.
template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::noinline]] void add_values(
    const Element* values, std::int64_t value_stride, const float* shares, std::int64_t stride, std::int64_t pixels,
    __m512 (&sums)[4]) {
  __m512 a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  for (std::int64_t i = 0; i < pixels; ++i) {
    const __m512 x = load_elements(values + i * value_stride);
    a = _mm512_fmadd_ps(x, _mm512_set1_ps(shares[i]), a);
    b = _mm512_fmadd_ps(x, _mm512_set1_ps(shares[stride + i]), b);
    c = _mm512_fmadd_ps(x, _mm512_set1_ps(shares[2 * stride + i]), c);
    d = _mm512_fmadd_ps(x, _mm512_set1_ps(shares[3 * stride + i]), d);
  }
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

}  // namespace detail

template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void pixels_attend_to_tokens_avx512(
    const FewTokenAttention<Element>& attention, std::int64_t begin, std::int64_t end) {
  using namespace detail;
  const std::int64_t stride = attention.heads * few_token_head_width;
  LaneTile pixels, scores, result;
  TokenHead keys, values;
  for (std::int64_t head = 0; head < attention.heads; ++head) {
    const std::int64_t column = head * few_token_head_width;
    gather_head(attention.keys + column, stride, attention.tokens, keys);
    gather_head(attention.values + column, stride, attention.tokens, values);
    for (std::int64_t group = begin; group < end; ++group) {
      const std::int64_t first = group * few_token_pixels, count = std::min(few_token_pixels, attention.pixels - first);
      load_transposed(attention.queries + first * stride + column, stride, count, pixels);
      write_scores<Element>(pixels, keys, attention.tokens, scores);
      softmax_over_rows<Element>(scores, attention.tokens);
      for (int part = 0; part < 4; ++part) {
        __m512 sums[4];
        weigh_rows(scores, &values.by_token[part][0][0], attention.tokens, sums);
        for (int i = 0; i < 4; ++i) _mm512_store_ps(result.at[4 * part + i], sums[i]);
      }
      store_transposed(result, attention.out + first * stride + column, stride, count);
    }
  }
}

template <class Element>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void tokens_attend_to_pixels_avx512(
    const FewTokenAttention<Element>& attention, std::int64_t begin, std::int64_t end) {
  using namespace detail;
  const std::int64_t stride = attention.heads * few_token_head_width;
  const std::int64_t padded = (attention.pixels + few_token_pixels - 1) / few_token_pixels * few_token_pixels;
  const std::int64_t token_rows = (attention.tokens + 3) / 4 * 4;
  std::vector<float> shares(static_cast<std::size_t>(token_rows * padded));
  LaneTile pixels, scores;
  TokenHead queries;
  for (std::int64_t head = begin; head < end; ++head) {
    const std::int64_t column = head * few_token_head_width;
    gather_head(attention.queries + column, stride, attention.tokens, queries);
    for (std::int64_t first = 0; first < attention.pixels; first += few_token_pixels) {
      const std::int64_t count = std::min(few_token_pixels, attention.pixels - first);
      load_transposed(attention.keys + first * stride + column, stride, count, pixels);
      write_scores<Element>(pixels, queries, attention.tokens, scores);
      const auto absent = static_cast<__mmask16>(0xffff << count);
      for (std::int64_t token = 0; token < attention.tokens; ++token)
        _mm512_storeu_ps(shares.data() + token * padded + first,
                         _mm512_mask_mov_ps(_mm512_load_ps(scores.at[token]), absent,
                                            _mm512_set1_ps(-std::numeric_limits<float>::infinity())));
    }
    for (std::int64_t token = 0; token < attention.tokens; ++token)
      softmax_of_scores<Element>(shares.data() + token * padded, padded);
    for (std::int64_t first = 0; first < attention.tokens; first += 4) {
      __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
      add_values(attention.values + column, stride, shares.data() + first * padded, padded, attention.pixels, sums);
      for (std::int64_t token = first; token < std::min(first + 4, attention.tokens); ++token)
        store_rounded(attention.out + token * stride + column, 0xffff, sums[token - first]);
    }
  }
}

#endif

/// What this processor can run faster than single operators do; nullptr for none.
template <class Element>
[[nodiscard]] FewTokenAttentionKernel<Element> find_pixels_attend_to_tokens() {
#if defined(__x86_64__)
  if (has_avx512_bf16()) return pixels_attend_to_tokens_avx512<Element>;
#endif
  return nullptr;
}
template <class Element>
[[nodiscard]] FewTokenAttentionKernel<Element> find_tokens_attend_to_pixels() {
#if defined(__x86_64__)
  if (has_avx512_bf16()) return tokens_attend_to_pixels_avx512<Element>;
#endif
  return nullptr;
}

}  // namespace lisa::cpu
