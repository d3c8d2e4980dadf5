#pragma once

#include <cstdint>

#include "lisa/cuda/attention_choices.hpp"
#include "lisa/cuda/relative_attention.cuh"

namespace lisa::cuda {

/// Tokens of a grid's row and column, at most: a tile of `global_attention` is a row of queries against one of keys.
inline constexpr int most_grid_side = 64;

/// Why `global_attention` can't do this, in words; nullptr where it can. `batch` may be 0.
template <class Element>
[[nodiscard]] inline const char* global_attention_refusal(const RelativeAttentionArguments<Element>& a) {
  if (a.grid_height < 1 || a.grid_height > most_grid_side || a.grid_width < 1 || a.grid_width > most_grid_side)
    return "global attention: the grid must have 1 to 64 tokens per side";
  return relative_attention_refusal(a);
}

/// Shared memory of a block: two stages of keys and values, which before the first of them hold the queries and the
/// position tables and then the products of both, and a term for each query and key row.
template <class Element, int head_dim>
struct GlobalAttentionShared {
  using Rows = TokenRows<Element, head_dim>;
  static constexpr AttentionTile tile = global_attention_tile<Element>(Architecture::sm80, head_dim);
  static constexpr int global_tile = tile.queries;
  static_assert(global_tile == most_grid_side && tile.keys == most_grid_side,
                "GlobalAttentionShared: a tile is a row of the largest grid against another");
  static constexpr int tile_bytes = global_tile * Rows::row_bytes;
  static constexpr int stage_bytes = 2 * tile_bytes;
  /// Floats from row to row: odd, so that eight rows are in different banks.
  static constexpr int row_term_pitch = global_tile + 1;
  /// Products of a query with all 127 distances of a row of 64.
  static constexpr int product_tiles = 2 * global_tile / 8;
  static constexpr int product_pitch = 2 * global_tile + 1;
  static constexpr int row_terms_at = 2 * stage_bytes;
  static constexpr int bytes = row_terms_at + global_tile * row_term_pitch * static_cast<int>(sizeof(float));
  static_assert(global_tile * product_pitch * static_cast<int>(sizeof(float)) <= 2 * stage_bytes,
                "GlobalAttentionShared: the products must fit into the stages");
  static_assert(bytes <= most_shared_bytes(Architecture::sm80), "GlobalAttentionShared: too much shared memory");
};

/// Launch of `global_attention`: a block for each row of queries, head and image.
template <class Element>
[[nodiscard]] inline LaunchGeometry global_attention_geometry(const RelativeAttentionArguments<Element>& a) {
  return {{a.grid_height, a.heads, a.batch},
          global_attention_tile<Element>(Architecture::sm80, a.head_dim).threads(),
          a.head_dim == 64 ? GlobalAttentionShared<Element, 64>::bytes : GlobalAttentionShared<Element, 80>::bytes};
}

/// The kernel. A tile of keys is one image row, so that the term of the key's column is the same for every tile: it
/// stays in registers and is what each product of queries and keys begins with, at no cost. The term of the key's row
/// is one number per query and tile, added where the maximum is subtracted. Each warp has 16 queries.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void global_attention(const RelativeAttentionArguments<Element>& a) {
  using Rows = TokenRows<Element, head_dim>;
  using Shared = GlobalAttentionShared<Element, head_dim>;
  constexpr int global_tile = Shared::global_tile, threads = Shared::tile.threads(), tiles = global_tile / 8;
  const BlockIndex block = Dev::block_index();
  const int thread = Dev::thread_index(), lane = thread % 32, first_query = thread / 32 * 16;
  const int query_row = block.x;

  std::byte* const shared = Dev::shared_memory();
  const auto rows_at = [&](int byte) { return Rows{reinterpret_cast<Element*>(shared + byte)}; };
  const auto stage_keys = [&](int stage) { return rows_at(stage * Shared::stage_bytes); };
  const auto stage_values = [&](int stage) { return rows_at(stage * Shared::stage_bytes + Shared::tile_bytes); };
  auto* const row_terms = reinterpret_cast<float*>(shared + Shared::row_terms_at);  // [64 queries, row_term_pitch]

  const std::int64_t inputs = block.z * a.batch_stride + block.y * a.head_stride;
  const auto token = [&](const Element* part, int y, int x) -> const Element* {
    return x < a.grid_width ? part + inputs + (static_cast<std::int64_t>(y) * a.grid_width + x) * a.token_stride
                            : nullptr;
  };
  const auto copy_stage = [&](int key_row) {
    copy_rows<Dev>(stage_keys(key_row % 2), global_tile, thread, threads,
                   [&](int x) { return token(a.k, key_row, x); });
    copy_rows<Dev>(stage_values(key_row % 2), global_tile, thread, threads,
                   [&](int x) { return token(a.v, key_row, x); });
  };

  // Queries, the row distances of this query row in the order of the key rows, and all column distances.
  const Rows queries = stage_keys(0), row_table = stage_values(0), column_table = stage_keys(1);
  copy_rows<Dev>(queries, global_tile, thread, threads, [&](int x) { return token(a.q, query_row, x); });
  copy_rows<Dev>(row_table, global_tile, thread, threads, [&](int y) -> const Element* {
    return y < a.grid_height ? a.rel_h + (query_row - y + a.grid_height - 1) * head_dim : nullptr;
  });
  copy_rows<Dev>(column_table, 2 * global_tile, thread, threads, [&](int distance) -> const Element* {
    return distance < 2 * a.grid_width - 1 ? a.rel_w + distance * head_dim : nullptr;
  });
  Dev::commit_copies();
  Dev::template wait_copies<0>();
  Dev::barrier();

  const LeftRows<head_dim> left = load_left_rows<Dev>(queries, first_query, lane);
  const auto in_order = [](int row) { return row; };
  {
    float products[tiles][4] = {};
    multiply_rows<Dev>(products, left, row_table, lane, in_order);
#pragma unroll
    for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        row_terms[(first_query + fragment_row(lane, i)) * Shared::row_term_pitch + tile * 8 +
                  fragment_column(lane, i)] = products[tile][i] * log2_of_e;
  }
  float column_terms[tiles][4];  // over the scale, so that scores are scale * (term + q.k)
  {
    float products[Shared::product_tiles][4] = {};
    multiply_rows<Dev>(products, left, column_table, lane, in_order);
    Dev::barrier();  // everyone has used the tables; the products take their place
    float* const scratch = reinterpret_cast<float*>(shared) + first_query * Shared::product_pitch;
    skew_terms<Dev>(column_terms, products, scratch, Shared::product_pitch, lane, a.grid_width, a.scale,
                    [&](int row) { return first_query + row; });
  }
  Dev::barrier();  // everyone has their terms; the first stage takes the products' place
  copy_stage(0);
  Dev::commit_copies();

  const float to_log2 = a.scale * log2_of_e;
  const auto row_term = [&](int half, int key_row) {
    return row_terms[(first_query + fragment_row(lane, 2 * half)) * Shared::row_term_pitch + key_row];
  };
  RunningSoftmax<head_dim> softmax;
  for (int key_row = 0; key_row < a.grid_height; ++key_row) {
    Dev::template wait_copies<0>();
    Dev::barrier();  // this stage is there for all, and all are done with the other one
    if (key_row + 1 < a.grid_height) copy_stage(key_row + 1);
    Dev::commit_copies();

    float scores[tiles][4];
#pragma unroll
    for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[tile][i] = column_terms[tile][i];
    multiply_rows<Dev>(scores, left, stage_keys(key_row % 2), lane, in_order);

    const float row_terms_now[2] = {row_term(0, key_row), row_term(1, key_row)};
    softmax.template weigh<Dev>(scores, to_log2, row_terms_now);
    multiply_weights<Dev>(softmax.sums, scores, stage_values(key_row % 2), lane);
  }
  Dev::template wait_copies<0>();

  const float factors[2] = {1.0F / row_sum<Dev>(softmax.weight_sum[0]), 1.0F / row_sum<Dev>(softmax.weight_sum[1])};
  // The stage that the last key row is not in: everyone was done with it at the last barrier.
  const Rows free_stage = stage_keys(a.grid_height % 2);
  const std::int64_t outputs = block.z * a.out_batch_stride + block.y * a.out_head_stride;
  store_rows<Dev>(softmax.sums, factors, Rows{free_stage.at(first_query, 0)}, lane, [&](int row) -> Element* {
    const int x = first_query + row;
    return x < a.grid_width
               ? a.out + outputs + (static_cast<std::int64_t>(query_row) * a.grid_width + x) * a.out_token_stride
               : nullptr;
  });
}

}  // namespace lisa::cuda
