#pragma once

#include <cmath>
#include <cstdint>

#include "lisa/cuda/causal_attention.cuh"
#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/launch_geometry.hpp"
#include "lisa/cuda/window_attention.cuh"

// Attention with fp32 inputs and plain sums, for models in fp32, and as what the kernels with matrix products are
// compared with. A warp has a query, and goes over its keys one after the other.

namespace lisa::cuda {

/// Warps of a block, a query each.
inline constexpr int reference_block_warps = 4;
/// The widest head: its columns are shared by a warp's lanes, 32 apart.
inline constexpr int most_reference_head_dim = 128;
inline constexpr int reference_lane_columns = most_reference_head_dim / 32;

/// A lane's columns of a row: lane l has l, l + 32, ...; zeros behind the row's end.
struct LaneColumns {
  float values[reference_lane_columns];

  /// These and `factor` of others.
  [[nodiscard]] LISA_DEVICE LaneColumns plus(float factor, const LaneColumns& others) const {
    LaneColumns sum{};
#pragma unroll
    for (int i = 0; i < reference_lane_columns; ++i) sum.values[i] = values[i] + factor * others.values[i];
    return sum;
  }
};

/// A query's online softmax.
template <class Dev>
class ReferenceQuery {
 public:
  LISA_DEVICE ReferenceQuery(const float* query, int head_dim, int lane)
      : head_dim_(head_dim), lane_(lane), query_(load(query)) {}

  [[nodiscard]] LISA_DEVICE LaneColumns load(const float* row) const {
    LaneColumns columns{};
#pragma unroll
    for (int i = 0; i < reference_lane_columns; ++i)
      if (const int column = lane_ + 32 * i; column < head_dim_) columns.values[i] = row[column];
    return columns;
  }

  /// The product of the query with a row, the same in all lanes.
  [[nodiscard]] LISA_DEVICE float product(const LaneColumns& row) const {
    float sum = 0.0F;
#pragma unroll
    for (int i = 0; i < reference_lane_columns; ++i) sum += query_.values[i] * row.values[i];
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) sum += Dev::shuffle_xor(sum, distance);
    return sum;
  }

  /// Adds a key's value. @param score in units of log2
  LISA_DEVICE void add(float score, const float* value) {
    const float now = fmaxf(maximum_, score);
    const float shrink = Dev::exp2(maximum_ - now), weight = Dev::exp2(score - now);
    maximum_ = now;
    weight_sum_ = weight_sum_ * shrink + weight;
    const LaneColumns row = load(value);
#pragma unroll
    for (int i = 0; i < reference_lane_columns; ++i)
      sums_.values[i] = sums_.values[i] * shrink + weight * row.values[i];
  }

  LISA_DEVICE void store(float* out) const {
#pragma unroll
    for (int i = 0; i < reference_lane_columns; ++i)
      if (const int column = lane_ + 32 * i; column < head_dim_) out[column] = sums_.values[i] / weight_sum_;
  }
  /// ln of the sum of exp(scores).
  [[nodiscard]] LISA_DEVICE float log_sum() const { return (maximum_ + log2f(weight_sum_)) * (1.0F / log2_of_e); }

 private:
  int head_dim_, lane_;
  LaneColumns query_;
  float maximum_ = -INFINITY, weight_sum_ = 0.0F;
  LaneColumns sums_{};
};

/// Why `reference_window_attention` can't do this, in words; nullptr where it can. Windows may have any side; one of
/// the grid's side is attention over the whole grid, without padding. `batch` may be 0.
[[nodiscard]] inline const char* reference_window_attention_refusal(const WindowAttentionArguments<float>& arguments) {
  const RelativeAttentionArguments<float>& a = arguments.attention;
  if (a.head_dim < 1 || a.head_dim > most_reference_head_dim) return "reference attention: head_dim must be 1 to 128";
  if (a.batch < 0 || a.batch > 65535 || a.heads < 1 || a.heads > 65535)
    return "reference attention: takes 0 to 65535 images and 1 to 65535 heads";
  if (!(a.scale > 0.0F)) return "reference attention: the scale must be positive";
  if (a.grid_height < 1 || a.grid_height > 4096 || a.grid_width < 1 || a.grid_width > 4096)
    return "reference attention: the grid must have 1 to 4096 tokens per side";
  if (arguments.window_side < 1 || arguments.window_side > 4096)
    return "reference attention: windows must have a side of 1 to 4096 tokens";
  return nullptr;
}

/// Launch of `reference_window_attention`: a warp for each token, head and image.
[[nodiscard]] inline LaunchGeometry reference_window_attention_geometry(
    const WindowAttentionArguments<float>& arguments) {
  const RelativeAttentionArguments<float>& a = arguments.attention;
  return {
      {ceil_div(a.grid_height * a.grid_width, reference_block_warps), a.heads, a.batch}, reference_block_warps * 32, 0};
}

/// The kernel of attention with relative positions.
template <class Dev>
LISA_DEVICE void reference_window_attention(const WindowAttentionArguments<float>& arguments) {
  const RelativeAttentionArguments<float>& a = arguments.attention;
  const BlockIndex block = Dev::block_index();
  const int lane = Dev::thread_index() % 32, side = arguments.window_side;
  const int token = block.x * reference_block_warps + Dev::thread_index() / 32;
  if (token >= a.grid_height * a.grid_width) return;  // the whole warp; there is no barrier
  const int y = token / a.grid_width, x = token % a.grid_width;
  const int top = y / side * side, left = x / side * side;
  const std::int64_t inputs = block.z * a.batch_stride + block.y * a.head_stride;
  const std::int64_t padding = static_cast<std::int64_t>(block.y) * a.head_dim;

  ReferenceQuery<Dev> query(a.q + inputs + token * a.token_stride, a.head_dim, lane);
  for (int key_y = top; key_y < top + side; ++key_y) {
    const float* const rel_h = a.rel_h + static_cast<std::int64_t>(y - key_y + side - 1) * a.head_dim;
    const float row_term = query.product(query.load(rel_h));
    for (int key_x = left; key_x < left + side; ++key_x) {
      const bool in_grid = key_y < a.grid_height && key_x < a.grid_width;
      const std::int64_t place = inputs + (static_cast<std::int64_t>(key_y) * a.grid_width + key_x) * a.token_stride;
      const float* const key = in_grid ? a.k + place : arguments.key_padding + padding;
      const float* const value = in_grid ? a.v + place : arguments.value_padding + padding;
      const float* const rel_w = a.rel_w + static_cast<std::int64_t>(x - key_x + side - 1) * a.head_dim;
      const float column_and_key = query.product(query.load(rel_w).plus(a.scale, query.load(key)));
      query.add((row_term + column_and_key) * log2_of_e, value);
    }
  }
  query.store(a.out + block.z * a.out_batch_stride + block.y * a.out_head_stride + token * a.out_token_stride);
}

/// Why `reference_causal_attention` can't do this, in words; nullptr where it can. `batch` and `most_queries` may be 0.
[[nodiscard]] inline const char* reference_causal_attention_refusal(const CausalAttentionArguments<float>& a) {
  if (a.head_dim < 1 || a.head_dim > most_reference_head_dim) return "reference attention: head_dim must be 1 to 128";
  if (const char* const refusal = head_counts_refusal(a.batch, a.heads, a.kv_heads)) return refusal;
  if (a.most_queries < 0 || a.most_queries > most_sequence_rows)
    return "reference attention: a sequence has 0 to 2^24 queries";
  if (!(a.scale > 0.0F)) return "reference attention: the scale must be positive";
  return nullptr;
}

/// Launch of `reference_causal_attention`: a warp for each query, head and sequence.
[[nodiscard]] inline LaunchGeometry reference_causal_attention_geometry(const CausalAttentionArguments<float>& a) {
  return {{ceil_div(a.most_queries, reference_block_warps), a.heads, a.batch}, reference_block_warps * 32, 0};
}

/// The kernel of causal attention.
template <class Dev>
LISA_DEVICE void reference_causal_attention(const CausalAttentionArguments<float>& a) {
  const BlockIndex block = Dev::block_index();
  const int lane = Dev::thread_index() % 32;
  const SequenceRows rows = load_sequence(a.sequences, block.z);
  const int number = block.x * reference_block_warps + Dev::thread_index() / 32;
  if (number >= rows.queries) return;  // the whole warp; there is no barrier
  const std::int64_t query_row = rows.first_query + number;
  const std::int64_t key_head = block.y / (a.heads / a.kv_heads) * a.key_head_stride;

  ReferenceQuery<Dev> query(a.q + block.y * a.query_head_stride + query_row * a.query_stride, a.head_dim, lane);
  const int seen = rows.keys - rows.queries + number + 1;
  for (int key = 0; key < seen; ++key) {
    const std::int64_t place = key_head + (rows.first_key + key) * a.key_stride;
    query.add(a.scale * query.product(query.load(a.k + place)) * log2_of_e, a.v + place);
  }
  query.store(a.out + block.y * a.out_head_stride + query_row * a.out_stride);
  if (a.log_sum != nullptr && lane == 0) a.log_sum[block.y * a.log_sum_head_stride + query_row] = query.log_sum();
}

}  // namespace lisa::cuda
