#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <vector>

#include "lisa/cpu/attention_lanes.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/relative_attention_arguments.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace lisa::cpu {

namespace detail {

/// The kernel's state for one thread. Keys have places, 16 to a group; places without a key have a bias that leaves
/// them no probability.
template <class Element, std::int64_t HeadDim>
class RelativeAttentionWorker {
 public:
  explicit RelativeAttentionWorker(const RelativeAttention<Element>& attention) : a_(attention) {
    lay_out_keys();
    pack_relative_positions();
    scores_.resize(unsigned_size(block_queries * tile_groups));
    probabilities_.resize(unsigned_size(block_queries * tile_groups / Traits::per_lane));
    queries_.resize(unsigned_size(block_queries * query_lines));
    sums_.resize(unsigned_size(block_queries * columns));
  }

  /// Makes the keys and values of a window ready.
  void enter(std::int64_t picture, std::int64_t head, const typename RelativeAttention<Element>::Window& window) {
    picture_ = picture;
    head_ = head;
    window_ = window;
    pack_keys_and_values();
  }

  /// Attends with the queries of one block of the window.
  void attend(std::int64_t block) {
    const std::int64_t queries = window_.height * window_.width;
    // Blocks of one size, so that a short last one does not waste a whole unit of rows.
    const std::int64_t size = round_up((queries + window_.blocks - 1) / window_.blocks, unit_queries);
    const std::int64_t first = std::min(queries, block * size), count = std::min(size, queries - first);
    if (count <= 0) return;
    load_queries(first, count);
    const std::int64_t rows = round_up(count, unit_queries);
    relative_products(rows);
    start_sums(rows);
    const std::int64_t share = even_share(groups_, tile_groups);
    for (std::int64_t group = 0; group < groups_; group += share) {
      const std::int64_t tile = std::min(share, groups_ - group);
      for (std::int64_t row = 0; row < rows; row += unit_queries) score_tile(row, group, tile);
      for (std::int64_t row = 0; row < rows; ++row) normalise(row, tile);
      for (std::int64_t row = 0; row < rows; row += unit_queries) add_values(row, group, tile);
    }
    write(first, count);
  }

 private:
  using Traits = AttentionElement<Element>;
  static constexpr std::int64_t block_queries = RelativeAttention<Element>::block_queries;
  static constexpr std::int64_t unit_queries = 4;  ///< rows whose sums fit into the registers together
  static constexpr std::int64_t tile_groups = 8;   ///< groups of keys whose scores are held at once
  static constexpr std::int64_t lanes = HeadDim / Traits::per_lane;  ///< lanes of a query or key
  static constexpr std::int64_t columns = HeadDim / line_lanes;      ///< lines of a row of sums
  static constexpr std::int64_t query_lines = (lanes + line_lanes - 1) / line_lanes;
  static constexpr float no_key = -3e38F, lowest_maximum = -1e38F;

  static std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
  }
  /// The largest of the fewest nearly equal parts, none above `limit`, of n things.
  static std::int64_t even_share(std::int64_t n, std::int64_t limit) {
    const std::int64_t parts = (n + limit - 1) / limit;
    return (n + parts - 1) / parts;
  }
  static std::size_t unsigned_size(std::int64_t n) { return static_cast<std::size_t>(n); }

  /// A short row of keys shares groups with the next ones; a long one fills groups of its own.
  [[nodiscard]] bool short_rows() const { return a_.side <= line_lanes; }

  void lay_out_keys() {
    row_places_ = short_rows() ? a_.side : round_up(a_.side, line_lanes);
    groups_ = round_up(a_.side * row_places_, line_lanes) / line_lanes;
    relative_stride_ = round_up(2 * (2 * a_.side - 1), line_lanes) + line_lanes;
    keys_.resize(unsigned_size(groups_ * lanes));
    values_.resize(unsigned_size(groups_ * line_lanes / Traits::per_lane * columns));
    relative_.resize(unsigned_size(block_queries * relative_stride_ / line_lanes));
    zeros_.resize(unsigned_size(token_stride()));
    places_.resize(unsigned_size(groups_ * line_lanes));
    bias_.resize(unsigned_size(block_queries) * (short_rows() ? 2 : unsigned_size(row_places_ / line_lanes)));
    row_bias_.resize(unsigned_size(block_queries * a_.side));
    if (!short_rows()) return;
    row_of_.resize(unsigned_size(groups_));
    column_of_.resize(unsigned_size(groups_));
    for (std::int64_t place = 0; place < groups_ * line_lanes; ++place) {
      const bool key = place < a_.side * a_.side;  // where it is false, side < 16, so that lane 15 belongs to no column
      const auto group = unsigned_size(place / line_lanes), lane = unsigned_size(place % line_lanes);
      row_of_[group].lanes[lane] = key ? static_cast<std::uint32_t>(place / a_.side) : 15;
      column_of_[group].lanes[lane] = key ? static_cast<std::uint32_t>(place % a_.side) : 15;
    }
  }

  /// Lanes of the 16 rows from `rows` as columns: line i of `to` holds lane i of every row.
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] static void pack_group(const Element* const* rows,
                                                                                          std::int64_t offset,
                                                                                          Line* to) {
    for (std::int64_t lane = 0; lane < lanes; lane += line_lanes) {
      const std::int64_t count = std::min(line_lanes, lanes - lane);
      const auto mask = static_cast<__mmask16>((1U << count) - 1);
      __m512i r[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) r[i] = _mm512_maskz_loadu_epi32(mask, rows[i] + offset + lane * Traits::per_lane);
      transpose_lanes(r);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        if (i < count) _mm512_store_si512(to + lane + i, r[i]);
    }
  }

  /// Both tables, in order of growing key, as if they were keys: products with them are the position terms of every
  /// query at once, those of a query and all keys of a row lie side by side.
  void pack_relative_positions() {
    const std::int64_t distances = 2 * a_.side - 1, groups = relative_stride_ / line_lanes - 1;
    positions_.resize(unsigned_size(groups * lanes));
    for (std::int64_t group = 0; group < groups; ++group) {
      std::array<const Element*, 16> rows;
      rows.fill(zeros_.data());
      for (std::int64_t i = 0; i < line_lanes; ++i) {
        const std::int64_t place = group * line_lanes + i;
        const std::int64_t distance = distances - 1 - place % distances;
        if (place < 2 * distances)
          rows[unsigned_size(i)] = (place < distances ? a_.rel_h : a_.rel_w) + distance * HeadDim;
      }
      pack_group(rows.data(), 0, positions_.data() + group * lanes);
    }
  }

  [[nodiscard]] std::int64_t token_stride() const { return 3 * a_.heads * HeadDim; }
  [[nodiscard]] std::int64_t token_index(std::int64_t y, std::int64_t x) const {
    return (picture_ * a_.height + window_.top + y) * a_.width + window_.left + x;
  }

  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void pack_keys_and_values() {
    std::fill(places_.begin(), places_.end(), zeros_.data());
    for (std::int64_t y = 0; y < a_.side; ++y)
      for (std::int64_t x = 0; x < a_.side; ++x)
        places_[unsigned_size(y * row_places_ + x)] =
            y < window_.height && x < window_.width ? a_.tokens + token_index(y, x) * token_stride() : a_.padding;
    const std::int64_t key = (a_.heads + head_) * HeadDim, value = (2 * a_.heads + head_) * HeadDim;
    for (std::int64_t group = 0; group < groups_; ++group) {
      const Element* const* const rows = places_.data() + group * line_lanes;
      pack_group(rows, key, keys_.data() + group * lanes);
      Line* to = values_.data() + group * line_lanes / Traits::per_lane * columns;
      for (std::int64_t i = 0; i < line_lanes; i += Traits::per_lane)
        for (std::int64_t column = 0; column < columns; ++column, ++to)
          _mm512_store_si512(to, value_line(rows + i, value + column * line_lanes));
    }
  }

  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] static __m512i widened(
      const Bf16Bits* values) {
    return _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
  }

  /// 16 values of one key in fp32, or of two keys in bf16, one key's above the other's.
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] static __m512i value_line(
      const Element* const* rows, std::int64_t offset) {
    if constexpr (std::same_as<Element, float>) {
      return _mm512_loadu_si512(rows[0] + offset);
    } else {
      const __m512i even = widened(rows[0] + offset), odd = widened(rows[1] + offset);
      return _mm512_or_si512(even, _mm512_maskz_slli_epi32(0xffff, odd, 16));
    }
  }

  /// Copies the queries of a block, with zeros behind them up to a whole unit.
  void load_queries(std::int64_t first, std::int64_t count) {
    std::fill(queries_.begin() + count * query_lines, queries_.end(), Line{});
    for (std::int64_t row = 0; row < count; ++row) {
      const std::int64_t y = (first + row) / window_.width, x = (first + row) % window_.width;
      row_y_[unsigned_size(row)] = y;
      row_x_[unsigned_size(row)] = x;
      const Element* const from = a_.tokens + token_index(y, x) * token_stride() + head_ * HeadDim;
      std::copy_n(from, HeadDim, reinterpret_cast<Element*>(queries_[unsigned_size(row * query_lines)].lanes.data()));
    }
    for (std::int64_t row = count; row < block_queries; ++row)
      row_y_[unsigned_size(row)] = row_x_[unsigned_size(row)] = 0;
  }

  [[nodiscard]] const std::uint32_t* query(std::int64_t row) const {
    return queries_[unsigned_size(row * query_lines)].lanes.data();
  }

  /// sums[i][g] += query row i . keys of group g, 4 rows and `Groups` groups whose lines lie one after the other.
  template <int Groups>
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] void multiply_queries(
      std::int64_t row, const Line* keys, __m512 (&sums)[4][4]) const {
    const std::uint32_t* const q[4] = {query(row), query(row + 1), query(row + 2), query(row + 3)};
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      __m512i k[Groups];
#pragma GCC unroll 4
      for (int g = 0; g < Groups; ++g) k[g] = _mm512_load_si512(keys + g * lanes + lane);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m512i x = _mm512_set1_epi32(static_cast<int>(q[i][lane]));
#pragma GCC unroll 4
        for (int g = 0; g < Groups; ++g) sums[i][g] = Traits::multiply_add(sums[i][g], x, k[g]);
      }
    }
  }

  /// Position terms of the block's queries, divided by the scale of the scores.
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void relative_products(std::int64_t rows) {
    const std::int64_t groups = relative_stride_ / line_lanes - 1;
    for (std::int64_t row = 0; row < rows; row += unit_queries) {
      const std::int64_t share = even_share(groups, 4);
      for (std::int64_t group = 0; group < groups; group += share) {
        switch (std::min(share, groups - group)) {
          case 1:
            relative_product<1>(row, group);
            break;
          case 2:
            relative_product<2>(row, group);
            break;
          case 3:
            relative_product<3>(row, group);
            break;
          default:
            relative_product<4>(row, group);
        }
      }
    }
    for (std::int64_t row = 0; row < rows; ++row) spread_bias(row);
  }

  template <int Groups>
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void relative_product(std::int64_t row,
                                                                                         std::int64_t group) {
    const __m512 inverse_scale = _mm512_set1_ps(std::sqrt(static_cast<float>(HeadDim)));
    __m512 sums[4][4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
#pragma GCC unroll 4
      for (int g = 0; g < Groups; ++g) sums[i][g] = _mm512_setzero_ps();
    multiply_queries<Groups>(row, positions_.data() + group * lanes, sums);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
#pragma GCC unroll 4
      for (int g = 0; g < Groups; ++g)
        store_floats(relative_[unsigned_size((row + i) * relative_stride_ / line_lanes + group + g)],
                     _mm512_mul_ps(sums[i][g], inverse_scale));
  }

  /// Takes the terms of a query's own row and column out of the products.
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void spread_bias(std::int64_t row) {
    const float* const products =
        reinterpret_cast<const float*>(relative_[unsigned_size(row * relative_stride_ / line_lanes)].lanes.data());
    const float* const h = products + a_.side - 1 - row_y_[unsigned_size(row)];
    const float* const w = products + 2 * a_.side - 1 + a_.side - 1 - row_x_[unsigned_size(row)];
    const __m512 absent = _mm512_set1_ps(no_key);
    if (short_rows()) {
      const auto mask = static_cast<__mmask16>((1U << a_.side) - 1);
      store_floats(bias_[unsigned_size(2 * row)], _mm512_mask_loadu_ps(_mm512_setzero_ps(), mask, h));
      store_floats(bias_[unsigned_size(2 * row + 1)], _mm512_mask_loadu_ps(absent, mask, w));
      return;
    }
    std::copy_n(h, a_.side, row_bias_.data() + row * a_.side);
    const std::int64_t lines = row_places_ / line_lanes;
    for (std::int64_t i = 0; i < lines; ++i) {
      const std::int64_t count = std::min(line_lanes, a_.side - i * line_lanes);
      const auto mask = static_cast<__mmask16>((1U << count) - 1);
      store_floats(bias_[unsigned_size(row * lines + i)], _mm512_mask_loadu_ps(absent, mask, w + i * line_lanes));
    }
  }

  /// The position terms of a query for one group of keys.
  template <bool ShortRows>
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] __m512 group_bias(
      std::int64_t row, std::int64_t group) const {
    if constexpr (ShortRows) {
      const Line* const terms = bias_.data() + 2 * row;
      return _mm512_add_ps(
          _mm512_maskz_permutexvar_ps(0xffff, _mm512_load_si512(row_of_.data() + group), load_floats(terms[0])),
          _mm512_maskz_permutexvar_ps(0xffff, _mm512_load_si512(column_of_.data() + group), load_floats(terms[1])));
    } else {
      const std::int64_t lines = row_places_ / line_lanes;
      return _mm512_add_ps(load_floats(bias_[unsigned_size(row * lines + group % lines)]),
                           _mm512_set1_ps(row_bias_[unsigned_size(row * a_.side + group / lines)]));
    }
  }

  void start_sums(std::int64_t rows) {
    std::fill_n(sums_.begin(), rows * columns, Line{});
    std::fill_n(maximum_.begin(), rows, lowest_maximum);
    std::fill_n(total_.begin(), rows, 0.0F);
  }

  /// Scores of 4 rows and a tile of keys, divided by their scale, and the largest of each row in 16 parts.
  void score_tile(std::int64_t row, std::int64_t group, std::int64_t tile) {
    if (short_rows())
      score_tile_of<true>(row, group, tile);
    else
      score_tile_of<false>(row, group, tile);
  }

  template <bool ShortRows>
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void score_tile_of(std::int64_t row,
                                                                                      std::int64_t group,
                                                                                      std::int64_t tile) {
    const std::int64_t share = even_share(tile, 4);
    for (std::int64_t g = 0; g < tile; g += share) {
      switch (std::min(share, tile - g)) {
        case 1:
          score<ShortRows, 1>(row, group, g);
          break;
        case 2:
          score<ShortRows, 2>(row, group, g);
          break;
        case 3:
          score<ShortRows, 3>(row, group, g);
          break;
        default:
          score<ShortRows, 4>(row, group, g);
      }
    }
  }

  template <bool ShortRows, int Groups>
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void score(std::int64_t row, std::int64_t group,
                                                                              std::int64_t in_tile) {
    __m512 sums[4][4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
#pragma GCC unroll 4
      for (int g = 0; g < Groups; ++g) sums[i][g] = group_bias<ShortRows>(row + i, group + in_tile + g);
    multiply_queries<Groups>(row, keys_.data() + (group + in_tile) * lanes, sums);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      Line* const to = scores_.data() + (row + i) * tile_groups + in_tile;
      __m512 largest = sums[i][0];
#pragma GCC unroll 4
      for (int g = 0; g < Groups; ++g) {
        store_floats(to[g], sums[i][g]);
        largest = larger(largest, sums[i][g]);
      }
      Line& partial = tile_maximum_[unsigned_size(row + i)];
      store_floats(partial, in_tile == 0 ? largest : larger(largest, load_floats(partial)));
    }
  }

  /// Scores of one row to probabilities, up to the factor that `write` divides out; earlier sums follow a new maximum.
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void normalise(std::int64_t row, std::int64_t tile) {
    const float scale = 1.44269504F / std::sqrt(static_cast<float>(HeadDim));  // log2(e): powers are of 2
    const float before = maximum_[unsigned_size(row)];
    const float now = std::max(before, largest_of_lanes(load_floats(tile_maximum_[unsigned_size(row)])));
    const __m512 factor = _mm512_set1_ps(scale), shift = _mm512_set1_ps(-now * scale);
    const Line* const scores = scores_.data() + row * tile_groups;
    __m512 total = _mm512_setzero_ps();
    if constexpr (std::same_as<Element, float>) {
      for (std::int64_t g = 0; g < tile; ++g) {
        const __m512 p = Traits::exp2(_mm512_fmadd_ps(load_floats(scores[g]), factor, shift));
        total = _mm512_add_ps(total, p);
        store_floats(probabilities_[unsigned_size(row * tile_groups + g)], p);
      }
    } else {
      // Two groups fill a line; of an odd last one the second half is not read.
      __m512 other = _mm512_setzero_ps();
      for (std::int64_t g = 0; g < tile; g += 2) {
        const __m512 low = Traits::exp2(_mm512_fmadd_ps(load_floats(scores[g]), factor, shift));
        total = _mm512_add_ps(total, low);
        __m512 high = _mm512_setzero_ps();
        if (g + 1 < tile) {
          high = Traits::exp2(_mm512_fmadd_ps(load_floats(scores[g + 1]), factor, shift));
          other = _mm512_add_ps(other, high);
        }
        _mm512_store_si512(probabilities_.data() + (row * tile_groups + g) / 2,
                           (__m512i)_mm512_cvtne2ps_pbh(high, low));
      }
      total = _mm512_add_ps(total, other);
    }
    float& sum = total_[unsigned_size(row)];
    if (now != before) {
      const float shrink = std::exp2((before - now) * scale);
      sum *= shrink;
      Line* const sums = sums_.data() + row * columns;
      for (std::int64_t column = 0; column < columns; ++column)
        store_floats(sums[column], _mm512_mul_ps(load_floats(sums[column]), _mm512_set1_ps(shrink)));
      maximum_[unsigned_size(row)] = now;
    }
    sum += sum_of_lanes(total);
  }

  /// Adds the values of a tile's keys, weighted by the probabilities of 4 rows.
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void add_values(std::int64_t row, std::int64_t group,
                                                                                   std::int64_t tile) {
    __m512 sums[4][columns];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
#pragma GCC unroll 6
      for (int c = 0; c < columns; ++c) sums[i][c] = load_floats(sums_[unsigned_size((row + i) * columns + c)]);
    constexpr std::int64_t row_lines = tile_groups / Traits::per_lane;
    const auto weights = [&](int i) { return probabilities_[unsigned_size((row + i) * row_lines)].lanes.data(); };
    const std::uint32_t* const p[4] = {weights(0), weights(1), weights(2), weights(3)};
    const Line* value = values_.data() + group * line_lanes / Traits::per_lane * columns;
    const std::int64_t count = tile * line_lanes / Traits::per_lane;
    for (std::int64_t k = 0; k < count; ++k, value += columns) {
      __m512i v[columns];
#pragma GCC unroll 6
      for (int c = 0; c < columns; ++c) v[c] = _mm512_load_si512(value + c);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m512i x = _mm512_set1_epi32(static_cast<int>(p[i][k]));
#pragma GCC unroll 6
        for (int c = 0; c < columns; ++c) sums[i][c] = Traits::multiply_add(sums[i][c], x, v[c]);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
#pragma GCC unroll 6
      for (int c = 0; c < columns; ++c) store_floats(sums_[unsigned_size((row + i) * columns + c)], sums[i][c]);
  }

  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]] void write(std::int64_t first, std::int64_t count) {
    for (std::int64_t row = 0; row < count; ++row) {
      const std::int64_t token = token_index((first + row) / window_.width, (first + row) % window_.width);
      Element* const to = a_.out + (token * a_.heads + head_) * HeadDim;
      const __m512 factor = _mm512_set1_ps(1.0F / total_[unsigned_size(row)]);
      for (std::int64_t column = 0; column < columns; ++column) {
        const __m512 value = _mm512_mul_ps(load_floats(sums_[unsigned_size(row * columns + column)]), factor);
        if constexpr (std::same_as<Element, float>)
          _mm512_storeu_ps(to + column * line_lanes, value);
        else
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + column * line_lanes), (__m256i)_mm512_cvtneps_pbh(value));
      }
    }
  }

  RelativeAttention<Element> a_;
  std::int64_t picture_ = 0, head_ = 0;
  typename RelativeAttention<Element>::Window window_{};
  std::int64_t row_places_ = 0;  ///< places from one row of keys to the next
  std::int64_t groups_ = 0;      ///< groups of keys
  std::int64_t relative_stride_ =
      0;                        ///< floats of one row of `relative_`, with a line behind them that loads may touch
  std::vector<Element> zeros_;  ///< what stands at places without a key
  std::vector<const Element*> places_;              ///< the token at each place
  std::vector<Line> row_of_, column_of_;            ///< of short rows: the key's row and column for each place
  std::vector<Line> keys_;                          ///< [group, lane of the key]
  std::vector<Line> values_;                        ///< [key or pair of keys, column]
  std::vector<Line> positions_;                     ///< both relative tables, laid out as keys
  std::vector<Line> queries_;                       ///< [row, query_lines]
  std::vector<Line> relative_;                      ///< [row, relative_stride_]
  std::vector<Line> bias_;                          ///< [row, row terms and column terms] or [row, line of columns]
  std::vector<float> row_bias_;                     ///< of long rows: [row, key row]
  std::vector<Line> scores_;                        ///< [row, tile_groups]
  std::vector<Line> probabilities_;                 ///< [row, tile_groups / per_lane]
  std::vector<Line> sums_;                          ///< [row, column]
  std::array<Line, block_queries> tile_maximum_{};  ///< largest scores of the tile, in 16 parts
  std::array<float, block_queries> maximum_{}, total_{};  ///< largest score and sum of probabilities so far
  std::array<std::int64_t, block_queries> row_y_{}, row_x_{};
};

}  // namespace detail

/// `RelativeAttentionKernel` in AVX-512; a thread holds the keys and values of one head of one window.
template <class Element, std::int64_t HeadDim>
  requires AttentionHeadDim<HeadDim>
void relative_attention_avx512(const RelativeAttention<Element>& attention, std::int64_t begin, std::int64_t end) {
  if (begin >= end) return;
  detail::RelativeAttentionWorker<Element, HeadDim> worker(attention);
  attention.for_each_block(begin, end, worker);
}

}  // namespace lisa::cpu

#endif
