#pragma once

#include <cstdint>

#include "lisa/cuda/attention_choices.hpp"
#include "lisa/cuda/attention_tiles.cuh"
#include "lisa/cuda/causal_attention.cuh"
#include "lisa/cuda/element_pair.cuh"

namespace lisa::cuda {

/// What the backward pass needs of a query: how its scores become weights, and what its weights' gradients have in
/// common. Zeros behind a sequence's last query, where q and out's gradient are zeros too and add nothing to any sum.
struct alignas(8) QueryTerms {
  float log_sum;  // of exp(scores), in units of log2
  float product;  // of the output and its gradient
};

/// Gradients of `causal_attention`. With weights P = exp(scale q.k - log_sum) and dP = dout.v:
/// dS = P (dP - dout.out), dq = scale sum dS k, dk = scale sum dS q, dv = sum P dout, the last two over all queries
/// that see the key, of all heads that share it. Sums are fp32; P and dS are rounded to Element for the products. Three
/// kernels, one after the other, none with atomics: `query_terms`, then `query_gradient` and `key_gradient` in any
/// order. fp16 gradients overflow from 65504 on and lose what is below 2^-24: scaling the loss is the caller's.
/// @tparam Element Bf16 or Fp16
template <class Element>
struct CausalAttentionGradientArguments {
  CausalAttentionArguments<Element> forward;  // as they were, with what it has written to out and log_sum
  const Element* out_gradient;                // as out
  Element* q_gradient;                        // as q
  Element* k_gradient;                        // as k; rows outside of the sequences are not written
  Element* v_gradient;                        // as v
  QueryTerms* terms;                          // workspace: [query_terms_size]
  int most_keys;                              // at least those of any sequence
};

/// Why the gradients can't be had, in words; nullptr where they can.
template <class Element>
[[nodiscard]] inline const char* causal_attention_gradient_refusal(const CausalAttentionGradientArguments<Element>& a) {
  if (const char* const refusal = causal_attention_refusal(a.forward)) return refusal;
  if (a.forward.log_sum == nullptr) return "causal attention: the gradient needs the sums of exponentials";
  if (a.most_keys < 0 || a.most_keys > most_sequence_rows) return "causal attention: a sequence has 0 to 2^24 keys";
  if (!rows_aligned(a.out_gradient, 0)) return "causal attention: out's gradient must start at a multiple of 16 bytes";
  const Element* const gradients[] = {a.q_gradient, a.k_gradient, a.v_gradient};
  for (const Element* const gradient : gradients)
    if (!rows_aligned(gradient, 0))
      return "causal attention: the gradients of q, k and v must start at multiples of 16 bytes";
  if (reinterpret_cast<std::uintptr_t>(a.terms) % sizeof(Vector16) != 0)
    return "causal attention: the workspace must start at a multiple of 16 bytes";
  return nullptr;
}

/// The kernels' choice for the arguments' head_dim.
template <class Element>
[[nodiscard]] LISA_HOST_DEVICE constexpr GradientTile gradient_tile_of(
    const CausalAttentionGradientArguments<Element>& a) {
  return causal_gradient_tile<Element>(Architecture::sm80, a.forward.head_dim);
}

/// Terms of each sequence and head: its most queries, rounded up to a whole tile.
template <class Element>
[[nodiscard]] LISA_HOST_DEVICE inline std::int64_t terms_pitch(const CausalAttentionGradientArguments<Element>& a) {
  const int gradient_tile = gradient_tile_of(a).rows;
  return static_cast<std::int64_t>(ceil_div(a.forward.most_queries, gradient_tile)) * gradient_tile;
}

/// `QueryTerms` of the workspace.
template <class Element>
[[nodiscard]] inline std::int64_t query_terms_size(const CausalAttentionGradientArguments<Element>& a) {
  return terms_pitch(a) * a.forward.heads * a.forward.batch;
}

/// Shared memory of a block of `query_gradient`: two stages of keys and values, which before the first of them hold the
/// queries and the gradients of the output.
template <class Element, int head_dim>
struct QueryGradientShared {
  using Rows = TokenRows<Element, head_dim>;
  static constexpr GradientTile tile = causal_gradient_tile<Element>(Architecture::sm80, head_dim);
  static constexpr int stage_rows = 2 * tile.stage_rows;
  static constexpr int bytes = 2 * stage_rows * Rows::row_bytes;
  static_assert(stage_rows == tile.rows, "QueryGradientShared: a stage must hold a tile of queries");
  static_assert(bytes <= most_shared_bytes(Architecture::sm80), "QueryGradientShared: too much shared memory");
};

/// Shared memory of a block of `key_gradient`: its keys and values for good, two stages of queries and gradients of the
/// output, and of their terms.
template <class Element, int head_dim>
struct KeyGradientShared {
  using Rows = TokenRows<Element, head_dim>;
  static constexpr GradientTile tile = causal_gradient_tile<Element>(Architecture::sm80, head_dim);
  static constexpr int stage_rows = 2 * tile.stage_rows;
  static constexpr int first_stage_row = 2 * tile.rows;
  static constexpr int terms_at = (first_stage_row + 2 * stage_rows) * Rows::row_bytes;
  static constexpr int bytes = terms_at + 2 * tile.stage_rows * static_cast<int>(sizeof(QueryTerms));
  static_assert(bytes <= most_shared_bytes(Architecture::sm80), "KeyGradientShared: too much shared memory");
};

/// Launches of the three kernels: a block for each tile of queries, head and sequence, or of keys, key head and
/// sequence.
template <class Element>
[[nodiscard]] inline LaunchGeometry query_terms_geometry(const CausalAttentionGradientArguments<Element>& a) {
  const GradientTile tile = gradient_tile_of(a);
  return {{ceil_div(a.forward.most_queries, tile.rows), a.forward.heads, a.forward.batch}, tile.threads(), 0};
}
template <class Element>
[[nodiscard]] inline LaunchGeometry query_gradient_geometry(const CausalAttentionGradientArguments<Element>& a) {
  const GradientTile tile = gradient_tile_of(a);
  return {
      {ceil_div(a.forward.most_queries, tile.rows), a.forward.heads, a.forward.batch},
      tile.threads(),
      a.forward.head_dim == 64 ? QueryGradientShared<Element, 64>::bytes : QueryGradientShared<Element, 128>::bytes};
}
template <class Element>
[[nodiscard]] inline LaunchGeometry key_gradient_geometry(const CausalAttentionGradientArguments<Element>& a) {
  const GradientTile tile = gradient_tile_of(a);
  return {{ceil_div(a.most_keys, tile.rows), a.forward.kv_heads, a.forward.batch},
          tile.threads(),
          a.forward.head_dim == 64 ? KeyGradientShared<Element, 64>::bytes : KeyGradientShared<Element, 128>::bytes};
}

/// Of a block's head and sequence.
template <class Element>
LISA_DEVICE QueryTerms* terms_of(const CausalAttentionGradientArguments<Element>& a, int sequence, int head) {
  return a.terms + (static_cast<std::int64_t>(sequence) * a.forward.heads + head) * terms_pitch(a);
}

/// The first kernel: terms of 64 queries, eight lanes for each.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void query_terms(const CausalAttentionGradientArguments<Element>& arguments) {
  constexpr GradientTile choice = causal_gradient_tile<Element>(Architecture::sm80, head_dim);
  constexpr int gradient_tile = choice.rows, gradient_threads = choice.threads();
  constexpr int lanes = 8, chunk = sizeof(Vector16) / sizeof(Element), rows_at_once = gradient_threads / lanes;
  const CausalAttentionArguments<Element>& a = arguments.forward;
  const BlockIndex block = Dev::block_index();
  const int thread = Dev::thread_index(), lane = thread % lanes;
  const SequenceRows rows = load_sequence(a.sequences, block.z);
  const int first_query = block.x * gradient_tile;
  if (first_query >= rows.queries) return;
  QueryTerms* const terms = terms_of(arguments, block.z, block.y);
  for (int row = thread / lanes; row < gradient_tile; row += rows_at_once) {
    const int query = first_query + row;
    float log_sum = 0.0F, product = 0.0F;
    if (query < rows.queries) {
      log_sum = a.log_sum[block.y * a.log_sum_head_stride + rows.first_query + query] * log2_of_e;
      const std::int64_t at = (rows.first_query + query) * a.out_stride + block.y * a.out_head_stride;
#pragma unroll
      for (int column = lane * chunk; column < head_dim; column += lanes * chunk) {
        const Vector16 out = Dev::load16(a.out + at + column),
                       gradient = Dev::load16(arguments.out_gradient + at + column);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          product += low_element<Dev, Element>(out.words[i]) * low_element<Dev, Element>(gradient.words[i]);
          product += high_element<Dev, Element>(out.words[i]) * high_element<Dev, Element>(gradient.words[i]);
        }
      }
    }
#pragma unroll
    for (int distance = 1; distance < lanes; distance *= 2) product += Dev::shuffle_xor(product, distance);
    if (lane != 0) continue;
    terms[query].log_sum = log_sum;
    terms[query].product = product;
  }
}

/// The second kernel: as the forward pass, with sums of dS k instead of P v.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void query_gradient(const CausalAttentionGradientArguments<Element>& arguments) {
  using Rows = TokenRows<Element, head_dim>;
  using Shared = QueryGradientShared<Element, head_dim>;
  constexpr int gradient_tile = Shared::tile.rows, gradient_stage = Shared::tile.stage_rows;
  constexpr int gradient_threads = Shared::tile.threads(), tiles = gradient_stage / 8;
  const CausalAttentionArguments<Element>& a = arguments.forward;
  const BlockIndex block = Dev::block_index();
  const int thread = Dev::thread_index(), lane = thread % 32, warp_query = thread / 32 * 16;
  const SequenceRows rows = load_sequence(a.sequences, block.z);
  const int first_query = (ceil_div(a.most_queries, gradient_tile) - 1 - block.x) * gradient_tile;
  if (first_query >= rows.queries) return;
  const int held = rows.keys - rows.queries;
  const int queries = rows.queries - first_query < gradient_tile ? rows.queries - first_query : gradient_tile;
  const int keys = held + first_query + queries;
  const int key_stages = ceil_div(keys, gradient_stage);

  const Rows shared{reinterpret_cast<Element*>(Dev::shared_memory())};
  const auto rows_from = [&](int row) { return Rows{shared.at(row, 0)}; };
  const auto stage_keys = [&](int stage) { return rows_from(stage % 2 * Shared::stage_rows); };
  const auto stage_values = [&](int stage) { return rows_from(stage % 2 * Shared::stage_rows + gradient_stage); };
  const std::int64_t key_head = block.y / (a.heads / a.kv_heads) * a.key_head_stride;
  const auto copy_stage = [&](int stage) {
    const auto key_row = [&](const Element* part) {
      return [&, part](int row) -> const Element* {
        const int key = stage * gradient_stage + row;
        return key < keys ? part + key_head + (rows.first_key + key) * a.key_stride : nullptr;
      };
    };
    copy_rows<Dev>(stage_keys(stage), gradient_stage, thread, gradient_threads, key_row(a.k));
    copy_rows<Dev>(stage_values(stage), gradient_stage, thread, gradient_threads, key_row(a.v));
  };

  const std::int64_t query_row = rows.first_query + first_query;
  copy_rows<Dev>(rows_from(0), gradient_tile, thread, gradient_threads, [&](int row) -> const Element* {
    return row < queries ? a.q + block.y * a.query_head_stride + (query_row + row) * a.query_stride : nullptr;
  });
  copy_rows<Dev>(rows_from(gradient_tile), gradient_tile, thread, gradient_threads, [&](int row) -> const Element* {
    return row < queries ? arguments.out_gradient + block.y * a.out_head_stride + (query_row + row) * a.out_stride
                         : nullptr;
  });
  Dev::commit_copies();
  Dev::template wait_copies<0>();
  Dev::barrier();  // the queries and the output's gradients are there
  const LeftRows<head_dim> left = load_left_rows<Dev>(rows_from(0), warp_query, lane);
  const LeftRows<head_dim> left_gradient = load_left_rows<Dev>(rows_from(gradient_tile), warp_query, lane);
  QueryTerms terms[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const QueryTerms& from =
        terms_of(arguments, block.z, block.y)[first_query + warp_query + fragment_row(lane, 2 * half)];
    terms[half] = {from.log_sum, from.product};
  }
  Dev::barrier();  // everyone has them in registers; the first stage takes their place
  copy_stage(0);
  Dev::commit_copies();

  const float to_log2 = a.scale * log2_of_e;
  const int seen_by_first = held + first_query + 1;
  const auto in_order = [](int row) { return row; };
  float sums[head_dim / 8][4] = {};
  for (int stage = 0; stage < key_stages; ++stage) {
    Dev::template wait_copies<0>();
    Dev::barrier();  // this stage is there for all, and all are done with the other one
    if (stage + 1 < key_stages) copy_stage(stage + 1);
    Dev::commit_copies();

    float scores[tiles][4] = {}, slopes[tiles][4] = {};  // slopes: dP, then dS
    multiply_rows<Dev>(scores, left, stage_keys(stage), lane, in_order);
    if ((stage + 1) * gradient_stage > seen_by_first)
      hide_later_keys(scores, seen_by_first + warp_query - stage * gradient_stage, lane);
    multiply_rows<Dev>(slopes, left_gradient, stage_values(stage), lane, in_order);
#pragma unroll
    for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const QueryTerms& of_row = terms[i / 2];
        slopes[tile][i] = Dev::exp2(scores[tile][i] * to_log2 - of_row.log_sum) * (slopes[tile][i] - of_row.product);
      }
    multiply_weights<Dev>(sums, slopes, stage_keys(stage), lane);
  }

  const float factors[2] = {a.scale, a.scale};
  const Rows free_stage = stage_keys(key_stages);  // everyone was done with it at the last barrier
  store_rows<Dev>(sums, factors, Rows{free_stage.at(warp_query, 0)}, lane, [&](int row) -> Element* {
    return warp_query + row < queries
               ? arguments.q_gradient + block.y * a.query_head_stride + (query_row + warp_query + row) * a.query_stride
               : nullptr;
  });
}

/// The third kernel: rows of its products are keys, columns queries. Goes through all queries that see the block's
/// first key, head after head of those that share it.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void key_gradient(const CausalAttentionGradientArguments<Element>& arguments) {
  using Rows = TokenRows<Element, head_dim>;
  using Shared = KeyGradientShared<Element, head_dim>;
  constexpr int gradient_tile = Shared::tile.rows, gradient_stage = Shared::tile.stage_rows;
  constexpr int gradient_threads = Shared::tile.threads(), tiles = gradient_stage / 8;
  const CausalAttentionArguments<Element>& a = arguments.forward;
  const BlockIndex block = Dev::block_index();
  const int thread = Dev::thread_index(), lane = thread % 32, warp_key = thread / 32 * 16;
  const SequenceRows rows = load_sequence(a.sequences, block.z);
  const int first_key = block.x * gradient_tile;
  if (first_key >= rows.keys) return;
  const int held = rows.keys - rows.queries;
  const int first_stage = first_key > held ? (first_key - held) / gradient_stage : 0;  // of the queries that see it
  const int head_stages = ceil_div(rows.queries, gradient_stage) - first_stage;
  const int group = a.heads / a.kv_heads, steps = group * head_stages;

  std::byte* const memory = Dev::shared_memory();
  const Rows shared{reinterpret_cast<Element*>(memory)};
  const auto rows_from = [&](int row) { return Rows{shared.at(row, 0)}; };
  const Rows keys = rows_from(0), values = rows_from(gradient_tile);
  const auto stage_queries = [&](int step) {
    return rows_from(Shared::first_stage_row + step % 2 * Shared::stage_rows);
  };
  const auto stage_gradients = [&](int step) { return Rows{stage_queries(step).at(gradient_stage, 0)}; };
  const auto stage_terms = [&](int step) {
    return reinterpret_cast<QueryTerms*>(memory + Shared::terms_at) + step % 2 * gradient_stage;
  };
  const auto first_query_of = [&](int step) { return (first_stage + step % head_stages) * gradient_stage; };
  const auto copy_stage = [&](int step) {
    const int head = block.y * group + step / head_stages, first = first_query_of(step);
    const auto query_row = [&](const Element* part, std::int64_t head_stride, std::int64_t stride) {
      return [&rows, first, stride, from = part + head * head_stride](int row) -> const Element* {
        return first + row < rows.queries ? from + (rows.first_query + first + row) * stride : nullptr;
      };
    };
    copy_rows<Dev>(stage_queries(step), gradient_stage, thread, gradient_threads,
                   query_row(a.q, a.query_head_stride, a.query_stride));
    copy_rows<Dev>(stage_gradients(step), gradient_stage, thread, gradient_threads,
                   query_row(arguments.out_gradient, a.out_head_stride, a.out_stride));
    constexpr int terms_at_once = sizeof(Vector16) / sizeof(QueryTerms);
    if (const int query = thread * terms_at_once; query < gradient_stage)
      Dev::copy_async(stage_terms(step) + query, terms_of(arguments, block.z, head) + first + query, true);
  };

  const auto key_row = [&](const Element* part) {
    return [&, part](int row) -> const Element* {
      const int key = first_key + row;
      return key < rows.keys ? part + block.y * a.key_head_stride + (rows.first_key + key) * a.key_stride : nullptr;
    };
  };
  copy_rows<Dev>(keys, gradient_tile, thread, gradient_threads, key_row(a.k));
  copy_rows<Dev>(values, gradient_tile, thread, gradient_threads, key_row(a.v));
  if (steps > 0) copy_stage(0);
  Dev::commit_copies();

  const float to_log2 = a.scale * log2_of_e;
  const auto in_order = [](int row) { return row; };
  float key_sums[head_dim / 8][4] = {}, value_sums[head_dim / 8][4] = {};
  for (int step = 0; step < steps; ++step) {
    Dev::template wait_copies<0>();
    Dev::barrier();  // these queries are there for all, and all are done with the other stage
    if (step + 1 < steps) copy_stage(step + 1);
    Dev::commit_copies();

    float weights[tiles][4] = {};
    multiply_rows<Dev>(weights, load_left_rows<Dev>(keys, warp_key, lane), stage_queries(step), lane, in_order);
    const int first = first_query_of(step), own_key = first_key + warp_key - held - first;
    const QueryTerms* const terms = stage_terms(step);
#pragma unroll
    for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int query = tile * 8 + fragment_column(lane, i);
        const bool seen = own_key + fragment_row(lane, i) <= query;
        weights[tile][i] = seen ? Dev::exp2(weights[tile][i] * to_log2 - terms[query].log_sum) : 0.0F;
      }
    multiply_weights<Dev>(value_sums, weights, stage_gradients(step), lane);

    float slopes[tiles][4] = {};  // dP, then dS
    multiply_rows<Dev>(slopes, load_left_rows<Dev>(values, warp_key, lane), stage_gradients(step), lane, in_order);
#pragma unroll
    for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        slopes[tile][i] = weights[tile][i] * (slopes[tile][i] - terms[tile * 8 + fragment_column(lane, i)].product);
    multiply_weights<Dev>(key_sums, slopes, stage_queries(step), lane);
  }
  Dev::template wait_copies<0>();
  Dev::barrier();  // nobody needs keys and values any more; without a step, nobody's copies of them come later

  const auto store = [&](const float(&sums)[head_dim / 8][4], float factor, const Rows& scratch, Element* to) {
    const float factors[2] = {factor, factor};
    store_rows<Dev>(sums, factors, Rows{scratch.at(warp_key, 0)}, lane, [&](int row) -> Element* {
      const int key = first_key + warp_key + row;
      return key < rows.keys ? to + block.y * a.key_head_stride + (rows.first_key + key) * a.key_stride : nullptr;
    });
  };
  store(key_sums, a.scale, keys, arguments.k_gradient);
  store(value_sums, 1.0F, values, arguments.v_gradient);
}

}  // namespace lisa::cuda
