#pragma once

#include <cstdint>

#include "lisa/cuda/attention_choices.hpp"
#include "lisa/cuda/attention_tiles.cuh"

namespace lisa::cuda {

/// Where one sequence of a batch lies: rows of tensors whose row and head strides are the same for all sequences. Its
/// newest `queries` positions are computed now; query i sees the first `keys - queries + i + 1` keys.
struct SequenceRows {
  std::int64_t first_query;  ///< row of the first query in q and out
  std::int64_t first_key;    ///< row of position 0 in k and v
  int queries;               ///< at least 0
  int keys;                  ///< at least `queries`: positions held before, and the queries' own
};

/// Causal attention of the newest rows of several sequences over all their keys, with grouped-query heads:
/// softmax(scale q.k) v. Query head h uses key head h / (heads / kv_heads). Sums are fp32; the softmax's weights are
/// rounded to Element for the product with v.
/// Strides are in elements, so that the tensors may be [rows, heads, head_dim], parts of one projection's output, or a
/// cache's [kv_heads, capacity, head_dim].
/// @tparam Element Bf16 or Fp16; float for the reference
template <class Element>
struct CausalAttentionArguments {
  const Element* q;  // [query rows, heads, head_dim] by the query strides; finite, as all inputs
  const Element* k;  // [key rows, kv_heads, head_dim] by the key strides; rows outside of the sequences are not read
  const Element* v;  // as k
  Element* out;      // [query rows, heads, head_dim] by the output strides
  float* log_sum;    // [heads, query rows] by log_sum_head_stride: ln of the sum of exp(scores); nullptr: not wanted
  const SequenceRows* sequences;                 // [batch], on the device
  std::int64_t query_stride, query_head_stride;  // of q
  std::int64_t key_stride, key_head_stride;      // of k and v
  std::int64_t out_stride, out_head_stride;
  std::int64_t log_sum_head_stride;
  float scale;  // positive; head_dim^-0.5
  int batch, heads, kv_heads;
  int most_queries;  // at least those of any sequence
  int head_dim;
};

/// Rows of a tensor that a launch can number.
inline constexpr int most_sequence_rows = 1 << 24;

/// What numbers of heads and sequences no causal kernel takes, in words; nullptr where there is nothing.
[[nodiscard]] inline const char* head_counts_refusal(int batch, int heads, int kv_heads) {
  if (batch < 0 || batch > 65535 || heads < 1 || heads > 65535)
    return "causal attention: takes 0 to 65535 sequences and 1 to 65535 heads";
  if (kv_heads < 1 || heads % kv_heads != 0) return "causal attention: heads must be a multiple of the key heads";
  return nullptr;
}

/// What heads and sequences no causal kernel with matrix products takes, in words; nullptr where there is nothing.
[[nodiscard]] inline const char* grouped_heads_refusal(int head_dim, int batch, int heads, int kv_heads) {
  if (head_dim != 64 && head_dim != 128) return "causal attention: head_dim must be 64 or 128";
  return head_counts_refusal(batch, heads, kv_heads);
}

/// Why `causal_attention` can't do this, in words; nullptr where it can. `batch` and `most_queries` may be 0. What
/// `sequences` holds is not looked at.
template <class Element>
[[nodiscard]] inline const char* causal_attention_refusal(const CausalAttentionArguments<Element>& a) {
  if (const char* const refusal = grouped_heads_refusal(a.head_dim, a.batch, a.heads, a.kv_heads)) return refusal;
  if (a.most_queries < 0 || a.most_queries > most_sequence_rows)
    return "causal attention: a sequence has 0 to 2^24 queries";
  if (!(a.scale > 0.0F)) return "causal attention: the scale must be positive";
  if (!rows_aligned(a.q, a.query_stride) || !rows_aligned(a.q, a.query_head_stride))
    return "causal attention: q must start at a multiple of 16 bytes, with strides of whole 16 bytes";
  const Element* const keys_and_values[] = {a.k, a.v};
  for (const Element* const input : keys_and_values)
    if (!rows_aligned(input, a.key_stride) || !rows_aligned(input, a.key_head_stride))
      return "causal attention: k and v must start at multiples of 16 bytes, with strides of whole 16 bytes";
  if (!rows_aligned(a.out, a.out_stride) || !rows_aligned(a.out, a.out_head_stride))
    return "causal attention: out must start at a multiple of 16 bytes, with strides of whole 16 bytes";
  return nullptr;
}

/// Shared memory of a block: two stages of keys and values; the second holds the queries before its first keys.
template <class Element, int head_dim>
struct CausalAttentionShared {
  using Rows = TokenRows<Element, head_dim>;
  static constexpr AttentionTile tile = causal_attention_tile<Element>(Architecture::sm80, head_dim);
  static constexpr int causal_tile = tile.keys;
  static_assert(tile.queries == tile.keys, "CausalAttentionShared: a stage's keys must hold the queries before");
  static constexpr int tile_bytes = causal_tile * Rows::row_bytes;
  static constexpr int stage_bytes = 2 * tile_bytes;
  static constexpr int bytes = 2 * stage_bytes;
  static_assert(bytes <= most_shared_bytes(Architecture::sm80), "CausalAttentionShared: too much shared memory");
};

/// Launch of `causal_attention`: a block for each tile of queries, head and sequence.
template <class Element>
[[nodiscard]] inline LaunchGeometry causal_attention_geometry(const CausalAttentionArguments<Element>& a) {
  const AttentionTile tile = causal_attention_tile<Element>(Architecture::sm80, a.head_dim);
  return {{ceil_div(a.most_queries, tile.queries), a.heads, a.batch},
          tile.threads(),
          a.head_dim == 64 ? CausalAttentionShared<Element, 64>::bytes : CausalAttentionShared<Element, 128>::bytes};
}

/// One sequence's rows, member by member: a struct of 24 bytes is no single access.
LISA_DEVICE SequenceRows load_sequence(const SequenceRows* sequences, int number) {
  const SequenceRows& rows = sequences[number];
  return {rows.first_query, rows.first_key, rows.queries, rows.keys};
}

/// Takes what a query must not see out of a tile of scores [16 queries, 8 * tiles keys].
/// @param first_seen keys that the first of the 16 queries sees, counted from the tile's first
template <int tiles>
LISA_DEVICE void hide_later_keys(float (&scores)[tiles][4], int first_seen, int lane) {
#pragma unroll
  for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (tile * 8 + fragment_column(lane, i) >= first_seen + fragment_row(lane, i)) scores[tile][i] = -INFINITY;
}

/// The kernel. Online softmax over tiles of keys, up to the last one that a query of the block sees; only tiles that
/// not all of them see whole are masked. Blocks start with the last queries, which have the most keys.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void causal_attention(const CausalAttentionArguments<Element>& a) {
  using Rows = TokenRows<Element, head_dim>;
  using Shared = CausalAttentionShared<Element, head_dim>;
  constexpr int causal_tile = Shared::causal_tile, threads = Shared::tile.threads(), tiles = causal_tile / 8;
  const BlockIndex block = Dev::block_index();
  const int thread = Dev::thread_index(), lane = thread % 32, warp_query = thread / 32 * 16;
  const SequenceRows rows = load_sequence(a.sequences, block.z);
  const int first_query = (ceil_div(a.most_queries, causal_tile) - 1 - block.x) * causal_tile;
  if (first_query >= rows.queries) return;
  const int held = rows.keys - rows.queries;  // keys before the first query's own
  const int queries = rows.queries - first_query < causal_tile ? rows.queries - first_query : causal_tile;
  const int keys = held + first_query + queries;  // that any query of this block sees
  const int key_tiles = ceil_div(keys, causal_tile);

  std::byte* const shared = Dev::shared_memory();
  const auto rows_at = [&](int byte) { return Rows{reinterpret_cast<Element*>(shared + byte)}; };
  const auto stage_keys = [&](int stage) { return rows_at(stage * Shared::stage_bytes); };
  const auto stage_values = [&](int stage) { return rows_at(stage * Shared::stage_bytes + Shared::tile_bytes); };
  const std::int64_t key_head = block.y / (a.heads / a.kv_heads) * a.key_head_stride;
  const auto key_row = [&](const Element* part, int key) -> const Element* {
    return key < keys ? part + key_head + (rows.first_key + key) * a.key_stride : nullptr;
  };
  const auto copy_stage = [&](int tile) {
    copy_rows<Dev>(stage_keys(tile % 2), causal_tile, thread, threads,
                   [&](int row) { return key_row(a.k, tile * causal_tile + row); });
    copy_rows<Dev>(stage_values(tile % 2), causal_tile, thread, threads,
                   [&](int row) { return key_row(a.v, tile * causal_tile + row); });
  };

  const std::int64_t query_row = rows.first_query + first_query;
  copy_rows<Dev>(stage_keys(1), causal_tile, thread, threads, [&](int row) -> const Element* {
    return row < queries ? a.q + block.y * a.query_head_stride + (query_row + row) * a.query_stride : nullptr;
  });
  Dev::commit_copies();
  copy_stage(0);
  Dev::commit_copies();
  Dev::template wait_copies<1>();
  Dev::barrier();  // the queries are there, the first keys may be on their way
  const LeftRows<head_dim> left = load_left_rows<Dev>(stage_keys(1), warp_query, lane);

  const float to_log2 = a.scale * log2_of_e;
  const int seen_by_first = held + first_query + 1;  // keys that the block's first query sees
  RunningSoftmax<head_dim> softmax;
  for (int tile = 0; tile < key_tiles; ++tile) {
    Dev::template wait_copies<0>();
    Dev::barrier();  // this stage is there for all, and all are done with the other one
    if (tile + 1 < key_tiles) copy_stage(tile + 1);
    Dev::commit_copies();

    float scores[tiles][4] = {};
    multiply_rows<Dev>(scores, left, stage_keys(tile % 2), lane, [](int row) { return row; });
    if ((tile + 1) * causal_tile > seen_by_first)
      hide_later_keys(scores, seen_by_first + warp_query - tile * causal_tile, lane);
    softmax.template weigh<Dev>(scores, to_log2);
    multiply_weights<Dev>(softmax.sums, scores, stage_values(tile % 2), lane);
  }

  const float weight_sums[2] = {row_sum<Dev>(softmax.weight_sum[0]), row_sum<Dev>(softmax.weight_sum[1])};
  if (a.log_sum != nullptr && lane % 4 == 0) {
    float* const log_sums = a.log_sum + block.y * a.log_sum_head_stride + query_row;
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (const int row = warp_query + fragment_row(lane, 2 * half); row < queries)
        log_sums[row] = (softmax.maximum[half] + log2f(weight_sums[half])) * (1.0F / log2_of_e);
  }
  const float factors[2] = {1.0F / weight_sums[0], 1.0F / weight_sums[1]};
  // The stage that the last keys are not in: everyone was done with it at the last barrier.
  const Rows free_stage = stage_keys(key_tiles % 2);
  store_rows<Dev>(softmax.sums, factors, Rows{free_stage.at(warp_query, 0)}, lane, [&](int row) -> Element* {
    return warp_query + row < queries
               ? a.out + block.y * a.out_head_stride + (query_row + warp_query + row) * a.out_stride
               : nullptr;
  });
}

}  // namespace lisa::cuda
