#pragma once

#include <cstdint>

#include "lisa/cuda/attention_choices.hpp"
#include "lisa/cuda/attention_tiles.cuh"
#include "lisa/cuda/causal_attention.cuh"
#include "lisa/cuda/rotary.cuh"

namespace lisa::cuda {

/// One step of decoding for several sequences: the new position's q and k are rotated, its k and v are appended to the
/// cache, and q attends to all keys: softmax(scale q.k) v. Two kernels, one after the other: `decode_attention` leaves
/// partial results of each split of the keys in the workspace, `combine_splits` makes `out` of them.
/// A sequence's `SequenceRows` has one query, its row of q, k, v and out, and as many keys as there are with the new
/// one; without a query (a free place of the batch) nothing is read or written for it.
/// Rotation is rounded to Element at each step, as the library's operator does it; sums of attention are fp32.
/// @tparam Element Bf16 or Fp16
template <class Element>
struct DecodeAttentionArguments {
  const Element* q;  // [rows, heads, head_dim] by the input strides; finite, as all inputs
  const Element* k;  // [rows, kv_heads, head_dim] by the input strides
  const Element* v;  // as k
  // Of position p in row p: [positions, head_dim], contiguous; the second half of a row repeats the first.
  const Element* cosine;
  const Element* sine;
  Element* key_cache;             // [cache rows, kv_heads, head_dim] by the cache strides
  Element* value_cache;           // as key_cache
  float* workspace;               // [decode_workspace_size]
  Element* out;                   // [rows, heads, head_dim] by the output strides
  const SequenceRows* sequences;  // [batch], on the device
  std::int64_t input_stride, input_head_stride;
  std::int64_t cache_stride, cache_head_stride;
  std::int64_t out_stride, out_head_stride;
  float scale;  // positive; head_dim^-0.5
  int batch, heads, kv_heads;
  int splits;  // blocks that share the keys of a sequence and key head
  int head_dim;
};

/// The most query heads that share a key head: rows of a matrix product.
inline constexpr int most_decode_group = 16;
inline constexpr int most_decode_splits = 256;

/// Why `decode_attention` can't do this, in words; nullptr where it can. `batch` may be 0. What `sequences` holds is
/// not looked at.
template <class Element>
[[nodiscard]] inline const char* decode_attention_refusal(const DecodeAttentionArguments<Element>& a) {
  if (const char* const refusal = grouped_heads_refusal(a.head_dim, a.batch, a.heads, a.kv_heads)) return refusal;
  if (a.heads / a.kv_heads > most_decode_group) return "decode attention: at most 16 query heads may share a key head";
  if (a.splits < 1 || a.splits > most_decode_splits) return "decode attention: takes 1 to 256 splits";
  if (!(a.scale > 0.0F)) return "decode attention: the scale must be positive";
  const Element* const inputs[] = {a.q, a.k, a.v};
  for (const Element* const input : inputs)
    if (!rows_aligned(input, a.input_stride) || !rows_aligned(input, a.input_head_stride))
      return "decode attention: q, k and v must start at multiples of 16 bytes, with strides of whole 16 bytes";
  const Element* const caches[] = {a.key_cache, a.value_cache};
  for (const Element* const cache : caches)
    if (!rows_aligned(cache, a.cache_stride) || !rows_aligned(cache, a.cache_head_stride))
      return "decode attention: the caches must start at multiples of 16 bytes, with strides of whole 16 bytes";
  if (!rows_aligned(a.cosine, 0) || !rows_aligned(a.sine, 0))
    return "decode attention: the rotary tables must start at multiples of 16 bytes";
  if (!rows_aligned(a.out, a.out_stride) || !rows_aligned(a.out, a.out_head_stride))
    return "decode attention: out must start at a multiple of 16 bytes, with strides of whole 16 bytes";
  return nullptr;
}

/// Keys that a block takes at a time.
template <class Element>
[[nodiscard]] LISA_HOST_DEVICE constexpr int decode_tile_keys(int head_dim) {
  return decode_attention_tile<Element>(Architecture::sm80, head_dim).keys();
}

/// Keys of each split but the last, a multiple of a block's `decode_tile`: a function of the length alone, so that
/// splits behind the end are empty.
[[nodiscard]] LISA_HOST_DEVICE constexpr int decode_split_keys(int keys, int splits, int decode_tile) {
  return ceil_div(ceil_div(keys, decode_tile), splits) * decode_tile;
}

/// Splits with which two blocks come on each multiprocessor, as far as there are tiles of keys. Not measured.
[[nodiscard]] constexpr int decode_splits(int most_keys, int batch, int kv_heads, int multiprocessors,
                                          int decode_tile = decode_tile_keys<Bf16>(128)) {
  if (batch == 0) return 1;
  const int wanted = ceil_div(2 * multiprocessors, batch * kv_heads), tiles = ceil_div(most_keys, decode_tile);
  const int splits = wanted < tiles ? wanted : tiles;
  return splits < 1 ? 1 : splits < most_decode_splits ? splits : most_decode_splits;
}

/// Partial results: for each sequence, query head and split head_dim sums of weighted values, and behind all of those
/// the maximum of the scores in units of log2 and the sum of the weights.
template <class Element>
struct DecodePartials {
  float* values;
  float* maxima_and_sums;

  LISA_HOST_DEVICE explicit DecodePartials(const DecodeAttentionArguments<Element>& a)
      : values(a.workspace),
        maxima_and_sums(a.workspace + static_cast<std::int64_t>(a.batch) * a.heads * a.splits * a.head_dim) {}
};

/// Floats of the workspace.
template <class Element>
[[nodiscard]] inline std::int64_t decode_workspace_size(const DecodeAttentionArguments<Element>& a) {
  return static_cast<std::int64_t>(a.batch) * a.heads * a.splits * (a.head_dim + 2);
}

/// Shared memory of a block, in rows of one pitch: the rotated queries, the rotated new key, and for each warp two
/// stages of keys and values, which at the end hold the warp's sums.
template <class Element, int head_dim>
struct DecodeAttentionShared {
  using Rows = TokenRows<Element, head_dim>;
  static constexpr DecodeTile tile = decode_attention_tile<Element>(Architecture::sm80, head_dim);
  static constexpr int decode_warps = tile.warps, decode_group_keys = tile.warp_keys;
  static_assert(decode_group_keys == 16, "DecodeAttentionShared: a warp's keys are the depth of one product");
  static constexpr int new_key_row = most_decode_group;
  static constexpr int stage_rows = 2 * decode_group_keys;
  static constexpr int warp_rows = 2 * stage_rows;
  static constexpr int bytes = (new_key_row + 1 + decode_warps * warp_rows) * Rows::row_bytes;
  LISA_DEVICE static int stage_row(int warp, int stage) {
    return new_key_row + 1 + warp * warp_rows + stage * stage_rows;
  }

  /// Floats from row to row of a warp's sums, so that eight rows are in different banks.
  static constexpr int sum_pitch = head_dim + 8;
  /// Maxima behind the sums, weight sums behind the maxima, one for each row.
  static constexpr int maxima_at = most_decode_group * sum_pitch;
  static constexpr int weight_sums_at = maxima_at + most_decode_group;
  static_assert((weight_sums_at + most_decode_group) * static_cast<int>(sizeof(float)) <= warp_rows * Rows::row_bytes,
                "DecodeAttentionShared: a warp's sums must fit into its stages");
  static_assert(bytes <= most_shared_bytes(Architecture::sm80), "DecodeAttentionShared: too much shared memory");
};

/// Launch of `decode_attention`: a block for each split, key head and sequence.
template <class Element>
[[nodiscard]] inline LaunchGeometry decode_attention_geometry(const DecodeAttentionArguments<Element>& a) {
  return {{a.splits, a.kv_heads, a.batch},
          decode_attention_tile<Element>(Architecture::sm80, a.head_dim).threads(),
          a.head_dim == 64 ? DecodeAttentionShared<Element, 64>::bytes : DecodeAttentionShared<Element, 128>::bytes};
}

/// Launch of `combine_splits`: a block for each query head and sequence, two columns for each thread.
template <class Element>
[[nodiscard]] inline LaunchGeometry combine_splits_geometry(const DecodeAttentionArguments<Element>& a) {
  return {{a.heads, a.batch, 1}, a.head_dim / 2, 0};
}

/// The first kernel. The query heads of a key head are rows of one matrix product, whose other rows are zeros. Each
/// warp takes 16 keys at a time through stages of its own; warps meet twice, when the queries are there and when all
/// sums are. The block that the new position falls to appends it; it takes the new key from where it has rotated it and
/// the new value from the input, so that nobody reads what this launch writes to the cache.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void decode_attention(const DecodeAttentionArguments<Element>& a) {
  using Rows = TokenRows<Element, head_dim>;
  using Shared = DecodeAttentionShared<Element, head_dim>;
  constexpr int decode_warps = Shared::decode_warps, decode_group_keys = Shared::decode_group_keys;
  constexpr int threads = Shared::tile.threads(), half_chunks = Rows::chunks / 2;
  const BlockIndex block = Dev::block_index();
  const int thread = Dev::thread_index(), lane = thread % 32, warp = thread / 32;
  const SequenceRows rows = load_sequence(a.sequences, block.z);
  const int split_keys = decode_split_keys(rows.keys, a.splits, Shared::tile.keys());
  const int begin = block.x * split_keys, newest = rows.keys - 1;
  if (rows.queries == 0 || begin >= rows.keys) return;
  const int end = begin + split_keys < rows.keys ? begin + split_keys : rows.keys;
  const bool appends = end == rows.keys;
  const int group = a.heads / a.kv_heads;

  const Rows shared{reinterpret_cast<Element*>(Dev::shared_memory())};
  const std::int64_t cache_head = block.y * a.cache_head_stride;
  const auto cached = [&](Element* cache, int key) {
    return cache + cache_head + (rows.first_key + key) * a.cache_stride;
  };
  const Element* const input_row = a.q + rows.first_query * a.input_stride;
  const std::int64_t new_row = rows.first_query * a.input_stride + block.y * a.input_head_stride;

  // Keys of step s: 16 from here on.
  const auto first_key = [&](int step) { return begin + (step * decode_warps + warp) * decode_group_keys; };
  const auto copy_stage = [&](int step) {
    const int row = Shared::stage_row(warp, step % 2), first = first_key(step);
    if (first >= end) return;
    copy_rows<Dev>(Rows{shared.at(row, 0)}, decode_group_keys, lane, 32, [&](int n) -> const Element* {
      return first + n < newest ? cached(a.key_cache, first + n) : nullptr;
    });
    copy_rows<Dev>(
        Rows{shared.at(row + decode_group_keys, 0)}, decode_group_keys, lane, 32, [&](int n) -> const Element* {
          return first + n < newest ? cached(a.value_cache, first + n) : first + n == newest ? a.v + new_row : nullptr;
        });
  };
  copy_stage(0);
  Dev::commit_copies();

  for (int i = thread; i < (group + (appends ? 1 : 0)) * half_chunks; i += threads) {
    const int row = i / half_chunks, column = i % half_chunks * Rows::chunk;
    const bool is_key = row == group;
    const Element* const from =
        (is_key ? a.k + new_row : input_row + (block.y * group + row) * a.input_head_stride) + column;
    const std::int64_t angles = static_cast<std::int64_t>(newest) * head_dim + column;
    const RotaryChunk rotated =
        rotate_chunk<Dev, Element>({Dev::load16(from), Dev::load16(from + head_dim / 2)},
                                   Dev::load16(a.cosine + angles), Dev::load16(a.sine + angles));
    const auto store = [&](Element* to) {
      Dev::store16(to, rotated.first);
      Dev::store16(to + head_dim / 2, rotated.second);
    };
    store(shared.at(is_key ? Shared::new_key_row : row, column));
    if (is_key) store(cached(a.key_cache, newest) + column);
  }
  for (int i = group * Rows::chunks + thread; i < most_decode_group * Rows::chunks; i += threads)
    Dev::store16(shared.at(i / Rows::chunks, i % Rows::chunks * Rows::chunk), Vector16{});
  if (appends && thread < Rows::chunks)
    Dev::store16(cached(a.value_cache, newest) + thread * Rows::chunk,
                 Dev::load16(a.v + new_row + thread * Rows::chunk));
  Dev::barrier();  // the queries and the new key are there

  const LeftRows<head_dim> left = load_left_rows<Dev>(shared, 0, lane);
  RunningSoftmax<head_dim> softmax;
  for (int step = 0; first_key(step) < end; ++step) {
    copy_stage(step + 1);
    Dev::commit_copies();
    Dev::template wait_copies<1>();
    Dev::sync_warp();  // this stage is there for the warp
    const int row = Shared::stage_row(warp, step % 2), first = first_key(step);
    float scores[2][4] = {};
    multiply_rows<Dev>(scores, left, shared, lane,
                       [&](int n) { return first + n == newest ? Shared::new_key_row : row + n; });
#pragma unroll
    for (int tile = 0; tile < 2; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (first + tile * 8 + fragment_column(lane, i) > newest) scores[tile][i] = -INFINITY;
    softmax.template weigh<Dev>(scores, a.scale * log2_of_e);
    multiply_weights<Dev>(softmax.sums, scores, Rows{shared.at(row + decode_group_keys, 0)}, lane);
    Dev::sync_warp();  // all lanes are done with this stage
  }

  const auto sums_of = [&](int w) { return reinterpret_cast<float*>(shared.at(Shared::stage_row(w, 0), 0)); };
  float* const own = sums_of(warp);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float weight_sum = row_sum<Dev>(softmax.weight_sum[half]);
    const int row = fragment_row(lane, 2 * half);
    if (row >= group) continue;
#pragma unroll
    for (int tile = 0; tile < head_dim / 8; ++tile)
#pragma unroll
      for (int i = 0; i < 2; ++i)
        own[row * Shared::sum_pitch + tile * 8 + fragment_column(lane, i)] = softmax.sums[tile][2 * half + i];
    if (lane % 4 != 0) continue;
    own[Shared::maxima_at + row] = softmax.maximum[half];
    own[Shared::weight_sums_at + row] = weight_sum;
  }
  Dev::barrier();  // every warp's sums are there

  const DecodePartials<Element> partials(a);
  for (int i = thread; i < group * head_dim; i += threads) {
    const int row = i / head_dim, column = i % head_dim;
    float maximum = -INFINITY, value = 0.0F, weight_sum = 0.0F;
#pragma unroll
    for (int w = 0; w < decode_warps; ++w) maximum = fmaxf(maximum, sums_of(w)[Shared::maxima_at + row]);
#pragma unroll
    for (int w = 0; w < decode_warps; ++w) {
      const float factor = Dev::exp2(sums_of(w)[Shared::maxima_at + row] - maximum);  // 0 for a warp without keys
      value += factor * sums_of(w)[row * Shared::sum_pitch + column];
      weight_sum += factor * sums_of(w)[Shared::weight_sums_at + row];
    }
    const std::int64_t part =
        (static_cast<std::int64_t>(block.z) * a.heads + block.y * group + row) * a.splits + block.x;
    partials.values[part * head_dim + column] = value;
    if (column == 0) {
      partials.maxima_and_sums[2 * part] = maximum;
      partials.maxima_and_sums[2 * part + 1] = weight_sum;
    }
  }
}

/// The second kernel: the splits' partial results under their common maximum.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void combine_splits(const DecodeAttentionArguments<Element>& a) {
  const BlockIndex block = Dev::block_index();
  const SequenceRows rows = load_sequence(a.sequences, block.y);
  if (rows.queries == 0) return;
  const int used = ceil_div(rows.keys, decode_split_keys(rows.keys, a.splits, decode_tile_keys<Element>(head_dim)));
  const std::int64_t first = (static_cast<std::int64_t>(block.y) * a.heads + block.x) * a.splits;
  const int column = Dev::thread_index() * 2;

  const DecodePartials<Element> partials(a);
  const float* const maxima_and_sums = partials.maxima_and_sums + 2 * first;
  float maximum = -INFINITY;
  for (int split = 0; split < used; ++split) maximum = fmaxf(maximum, maxima_and_sums[2 * split]);
  float low = 0.0F, high = 0.0F, weight_sum = 0.0F;
  for (int split = 0; split < used; ++split) {
    const float factor = Dev::exp2(maxima_and_sums[2 * split] - maximum);
    const float* const values = partials.values + (first + split) * head_dim + column;
    low += factor * values[0];
    high += factor * values[1];
    weight_sum += factor * maxima_and_sums[2 * split + 1];
  }
  Element* const to = a.out + rows.first_query * a.out_stride + block.x * a.out_head_stride + column;
  *reinterpret_cast<ElementPair*>(to) = Dev::template pack<Element>(low / weight_sum, high / weight_sum);
}

}  // namespace lisa::cuda
