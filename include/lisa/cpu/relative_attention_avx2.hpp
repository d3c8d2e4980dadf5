#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "lisa/cpu/avx2_lanes.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/relative_attention_arguments.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace lisa::cpu {

namespace detail {

/// 2^x of 8 lanes with a relative error below 2e-7 for x <= 0. NaN stays NaN, what fp32 cannot hold gives 0.
[[gnu::target("avx2,fma"), gnu::always_inline]] inline __m256 exp2_of_8(__m256 x) {
  const __m256 whole = _mm256_floor_ps(x), f = _mm256_sub_ps(x, whole);
  __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(1.8775767e-3F), f, _mm256_set1_ps(8.98934e-3F));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(5.5826318e-2F));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(2.4015362e-1F));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(6.9315307e-1F));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(9.9999993e-1F));
  const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127)), 23);
  const __m256 held = _mm256_cmp_ps(x, _mm256_set1_ps(-126), _CMP_NLT_UQ);
  return _mm256_and_ps(held, _mm256_mul_ps(p, _mm256_castsi256_ps(exponent)));
}

/// The kernel's state for one thread, everything in fp32. Keys and values lie in the order of places in the window,
/// filled up with zeros to whole tiles' parts of `key_unit`; places without a key have a bias that leaves them no
/// probability. Not a template over head_dim, to keep what every user compiles small.
class RelativeAttentionFp32 {
 public:
  RelativeAttentionFp32(std::int64_t head_dim, std::int64_t side)
      : head_dim_(head_dim),
        side_(side),
        places_((side * side + key_unit - 1) / key_unit * key_unit),
        scale_(log2_e / std::sqrt(static_cast<float>(head_dim))),
        keys_(size(places_ * head_dim)),
        values_(size(places_ * head_dim)),
        rel_h_(size((2 * side - 1) * head_dim)),
        rel_w_(size((2 * side - 1) * head_dim)),
        queries_(size(block_queries * head_dim)),
        row_terms_(size(block_queries * side)),
        column_terms_(size(block_queries * side)),
        scores_(size(block_queries * tile_keys)),
        sums_(size(block_queries * head_dim)),
        maximum_(size(block_queries)),
        total_(size(block_queries)) {}

  [[nodiscard]] float* rel_h() { return rel_h_.data(); }
  [[nodiscard]] float* rel_w() { return rel_w_.data(); }
  [[nodiscard]] float* value(std::int64_t place) { return values_.data() + place * head_dim_; }
  [[nodiscard]] float* query(std::int64_t row) { return queries_.data() + row * head_dim_; }
  [[nodiscard]] const float* result(std::int64_t row) const { return sums_.data() + row * head_dim_; }

  /// The key of a place goes into its column.
  void set_key(std::int64_t place, const float* key) {
    float* const to = keys_.data() + place / key_unit * key_unit * head_dim_ + place % key_unit;
    for (std::int64_t d = 0; d < head_dim_; ++d) to[d * key_unit] = key[d];
  }

  /// Attends with the first `rows` queries, whose places in the window are given; the rest of a unit is zero.
  void attend(std::int64_t rows, const std::int64_t* row_y, const std::int64_t* row_x) {
    const std::int64_t units = (rows + unit_queries - 1) / unit_queries * unit_queries;
    std::fill(queries_.begin() + rows * head_dim_, queries_.end(), 0.0F);
    for (std::int64_t row = 0; row < units; ++row)
      find_position_terms(row, row < rows ? row_y[row] : 0, row < rows ? row_x[row] : 0);
    for (float& q : queries_) q *= scale_;
    std::fill(sums_.begin(), sums_.end(), 0.0F);
    std::fill(maximum_.begin(), maximum_.end(), lowest_maximum);
    std::fill(total_.begin(), total_.end(), 0.0F);
    for (std::int64_t begin = 0; begin < places_; begin += tile_keys) {
      const std::int64_t count = std::min(tile_keys, places_ - begin);
      for (std::int64_t row = 0; row < units; row += unit_queries) score(row, begin, count);
      for (std::int64_t row = 0; row < units; ++row) normalise(row, count);
      for (std::int64_t row = 0; row < units; row += unit_queries) add_values(row, begin, count);
    }
    for (std::int64_t row = 0; row < rows; ++row) divide(row);
  }

 private:
  static constexpr std::int64_t block_queries = 32, unit_queries = 4;
  static constexpr std::int64_t key_unit = 16;    ///< keys whose scores with a unit of queries fill the registers
  static constexpr std::int64_t tile_keys = 256;  ///< keys whose scores are held at once
  static constexpr float log2_e = 1.44269504F, no_key = -3e38F, lowest_maximum = -1e38F;

  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

  [[gnu::target("avx2,fma")]] float product(const float* a, const float* b) const {
    __m256 sums = _mm256_setzero_ps();
    for (std::int64_t d = 0; d < head_dim_; d += 8)
      sums = _mm256_fmadd_ps(_mm256_loadu_ps(a + d), _mm256_loadu_ps(b + d), sums);
    return cpu::sum_of_lanes(sums);
  }

  /// The terms of a query for each row and each column of keys; powers are of 2.
  void find_position_terms(std::int64_t row, std::int64_t y, std::int64_t x) {
    const float* const q = queries_.data() + row * head_dim_;
    for (std::int64_t k = 0; k < side_; ++k) {
      row_terms_[size(row * side_ + k)] = log2_e * product(q, rel_h_.data() + (y - k + side_ - 1) * head_dim_);
      column_terms_[size(row * side_ + k)] = log2_e * product(q, rel_w_.data() + (x - k + side_ - 1) * head_dim_);
    }
  }

  /// Position terms of one row and the places [begin, begin + count).
  [[gnu::target("avx2,fma")]] void start_scores(std::int64_t row, std::int64_t begin, std::int64_t count) {
    float* to = scores_.data() + row * tile_keys;
    const std::int64_t end = std::min(begin + count, side_ * side_);
    for (std::int64_t place = begin; place < end;) {
      const std::int64_t y = place / side_, x = place % side_, run = std::min(end - place, side_ - x);
      const float h = row_terms_[size(row * side_ + y)];
      const float* const w = column_terms_.data() + row * side_ + x;
      std::int64_t i = 0;
      for (; i + 8 <= run; i += 8) _mm256_storeu_ps(to + i, _mm256_add_ps(_mm256_loadu_ps(w + i), _mm256_set1_ps(h)));
      for (; i < run; ++i) to[i] = w[i] + h;
      to += run;
      place += run;
    }
    std::fill(to, scores_.data() + row * tile_keys + count, no_key);
  }

  /// to [unit_queries, 16] += a [unit_queries, n] b [n, 16], each with a distance from row to row.
  [[gnu::target("avx2,fma")]] static void add_products(const float* a, std::int64_t a_stride, const float* b,
                                                       std::int64_t b_stride, std::int64_t n, float* to,
                                                       std::int64_t to_stride) {
    __m256 sums[unit_queries][2];
#pragma GCC unroll 4
    for (int i = 0; i < unit_queries; ++i) {
      sums[i][0] = _mm256_loadu_ps(to + i * to_stride);
      sums[i][1] = _mm256_loadu_ps(to + i * to_stride + 8);
    }
    for (std::int64_t k = 0; k < n; ++k, b += b_stride) {
      const __m256 low = _mm256_loadu_ps(b), high = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 4
      for (int i = 0; i < unit_queries; ++i) {
        const __m256 x = _mm256_broadcast_ss(a + i * a_stride + k);
        sums[i][0] = _mm256_fmadd_ps(x, low, sums[i][0]);
        sums[i][1] = _mm256_fmadd_ps(x, high, sums[i][1]);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < unit_queries; ++i) {
      _mm256_storeu_ps(to + i * to_stride, sums[i][0]);
      _mm256_storeu_ps(to + i * to_stride + 8, sums[i][1]);
    }
  }

  void score(std::int64_t row, std::int64_t begin, std::int64_t count) {
    for (std::int64_t i = 0; i < unit_queries; ++i) start_scores(row + i, begin, count);
    for (std::int64_t key = 0; key < count; key += key_unit)
      add_products(queries_.data() + row * head_dim_, head_dim_, keys_.data() + (begin + key) * head_dim_, key_unit,
                   head_dim_, scores_.data() + row * tile_keys + key, tile_keys);
  }

  /// Scores of one row to probabilities, up to the factor that `divide` takes out; earlier sums follow a new maximum.
  [[gnu::target("avx2,fma")]] void normalise(std::int64_t row, std::int64_t count) {
    float* const scores = scores_.data() + row * tile_keys;
    __m256 largest = _mm256_set1_ps(lowest_maximum);
    for (std::int64_t i = 0; i < count; i += 8) largest = _mm256_max_ps(_mm256_loadu_ps(scores + i), largest);
    alignas(32) float lanes[8];
    _mm256_store_ps(lanes, largest);
    const float before = maximum_[size(row)], now = std::max(before, *std::max_element(lanes, lanes + 8));
    __m256 total = _mm256_setzero_ps();
    for (std::int64_t i = 0; i < count; i += 8) {
      const __m256 p = exp2_of_8(_mm256_sub_ps(_mm256_loadu_ps(scores + i), _mm256_set1_ps(now)));
      total = _mm256_add_ps(total, p);
      _mm256_storeu_ps(scores + i, p);
    }
    if (now != before) {
      const float shrink = std::exp2(before - now);
      total_[size(row)] *= shrink;
      float* const sums = sums_.data() + row * head_dim_;
      for (std::int64_t d = 0; d < head_dim_; d += 8)
        _mm256_storeu_ps(sums + d, _mm256_mul_ps(_mm256_loadu_ps(sums + d), _mm256_set1_ps(shrink)));
      maximum_[size(row)] = now;
    }
    total_[size(row)] += cpu::sum_of_lanes(total);
  }

  /// Adds the values of a tile's keys, weighted by the probabilities of a unit of queries.
  void add_values(std::int64_t row, std::int64_t begin, std::int64_t count) {
    for (std::int64_t d = 0; d < head_dim_; d += 16)
      add_products(scores_.data() + row * tile_keys, tile_keys, values_.data() + begin * head_dim_ + d, head_dim_,
                   count, sums_.data() + row * head_dim_ + d, head_dim_);
  }

  void divide(std::int64_t row) {
    const float factor = 1.0F / total_[size(row)];
    float* const sums = sums_.data() + row * head_dim_;
    for (std::int64_t d = 0; d < head_dim_; ++d) sums[d] *= factor;
  }

  std::int64_t head_dim_, side_, places_;
  float scale_;
  std::vector<float> keys_;                      ///< [places / key_unit, head_dim, key_unit]
  std::vector<float> values_;                    ///< [places, head_dim]
  std::vector<float> rel_h_, rel_w_;             ///< [2 * side - 1, head_dim]
  std::vector<float> queries_;                   ///< [row, head_dim]
  std::vector<float> row_terms_, column_terms_;  ///< [row, side]
  std::vector<float> scores_;                    ///< [row, tile_keys], then probabilities
  std::vector<float> sums_;                      ///< [row, head_dim]
  std::vector<float> maximum_, total_;           ///< largest score and sum of probabilities so far
};

/// Brings elements of either type into the fp32 kernel and its results back.
template <class Element>
class RelativeAttentionAvx2 {
 public:
  RelativeAttentionAvx2(const RelativeAttention<Element>& attention, std::int64_t head_dim)
      : a_(attention),
        head_dim_(head_dim),
        kernel_(head_dim, attention.side),
        key_(static_cast<std::size_t>(head_dim)) {
    copy(a_.rel_h, (2 * a_.side - 1) * head_dim, kernel_.rel_h());
    copy(a_.rel_w, (2 * a_.side - 1) * head_dim, kernel_.rel_w());
  }

  /// Makes the keys and values of a window ready.
  void enter(std::int64_t picture, std::int64_t head, const typename RelativeAttention<Element>::Window& window) {
    picture_ = picture;
    head_ = head;
    window_ = window;
    for (std::int64_t y = 0; y < a_.side; ++y)
      for (std::int64_t x = 0; x < a_.side; ++x) {
        const bool inside = y < window.height && x < window.width;
        const Element* const place = inside ? token(y, x) : a_.padding;
        copy(place + (a_.heads + head) * head_dim_, head_dim_, key_.data());
        kernel_.set_key(y * a_.side + x, key_.data());
        copy(place + (2 * a_.heads + head) * head_dim_, head_dim_, kernel_.value(y * a_.side + x));
      }
  }

  /// Attends with the queries of one block of the window.
  void attend(std::int64_t block) {
    constexpr std::int64_t most = RelativeAttention<Element>::block_queries;
    const std::int64_t queries = window_.height * window_.width;
    const std::int64_t first = block * most, count = std::min(most, queries - first);
    std::int64_t row_y[most] = {}, row_x[most] = {};
    for (std::int64_t row = 0; row < count; ++row) {
      row_y[row] = (first + row) / window_.width;
      row_x[row] = (first + row) % window_.width;
      copy(token(row_y[row], row_x[row]) + head_ * head_dim_, head_dim_, kernel_.query(row));
    }
    kernel_.attend(count, row_y, row_x);
    for (std::int64_t row = 0; row < count; ++row) {
      Element* const to = a_.out + (token_index(row_y[row], row_x[row]) * a_.heads + head_) * head_dim_;
      const float* const from = kernel_.result(row);
      for (std::int64_t d = 0; d < head_dim_; ++d) to[d] = rounded_to<Element>(from[d]);
    }
  }

 private:
  static void copy(const Element* from, std::int64_t count, float* to) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = to_float(from[i]);
  }
  [[nodiscard]] std::int64_t token_index(std::int64_t y, std::int64_t x) const {
    return (picture_ * a_.height + window_.top + y) * a_.width + window_.left + x;
  }
  [[nodiscard]] const Element* token(std::int64_t y, std::int64_t x) const {
    return a_.tokens + token_index(y, x) * 3 * a_.heads * head_dim_;
  }

  RelativeAttention<Element> a_;
  std::int64_t head_dim_;
  RelativeAttentionFp32 kernel_;
  std::vector<float> key_;
  std::int64_t picture_ = 0, head_ = 0;
  typename RelativeAttention<Element>::Window window_{};
};

}  // namespace detail

/// `RelativeAttentionKernel` in AVX2, with products and probabilities in fp32 for either type.
template <class Element, std::int64_t HeadDim>
  requires AttentionHeadDim<HeadDim>
void relative_attention_avx2(const RelativeAttention<Element>& attention, std::int64_t begin, std::int64_t end) {
  if (begin >= end) return;
  detail::RelativeAttentionAvx2<Element> worker(attention, HeadDim);
  attention.for_each_block(begin, end, worker);
}

}  // namespace lisa::cpu

#endif
