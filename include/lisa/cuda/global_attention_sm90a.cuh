#pragma once

#include <cstdint>

#include "lisa/cuda/attention_choices.hpp"
#include "lisa/cuda/hopper_types.hpp"
#include "lisa/cuda/relative_attention.cuh"

namespace lisa::cuda {

/// 64 rows of head_dim elements in shared memory as panels [head_dim / columns, 64, columns]. Copies write them and
/// products read them.
template <int head_dim>
struct PanelTile {
  static constexpr int rows = 64;
  static constexpr int columns = hopper_attention_tile(head_dim).panel_columns;
  static constexpr int panels = head_dim / columns;
  static constexpr int row_bytes = 2 * columns;
  static constexpr int panel_bytes = rows * row_bytes;
  static constexpr int bytes = panels * panel_bytes;
  static constexpr Swizzle swizzle = static_cast<Swizzle>(row_bytes);
  static_assert(panels * columns == head_dim, "PanelTile: head_dim must consist of whole panels");
  static_assert(bytes % 1024 == 0, "PanelTile: the pattern of a swizzle repeats after at most 1024 bytes");

  std::byte* begin;

  /// 8 elements of a row, from a column that is a multiple of 8.
  LISA_DEVICE const std::byte* at(int row, int column) const {
    constexpr int units = row_bytes / 16;
    const int offset = column / columns * panel_bytes + row * row_bytes + column % columns * 2;
    return begin + (offset ^ (offset / 128 % units * 16));
  }
  /// As rows of a product, columns `depth * 16` to 15 more of them.
  template <class Dev>
  LISA_DEVICE std::uint64_t rows_of_product(int depth) const {
    const int panel = depth * 16 / columns, bytes_inside = depth * 16 % columns * 2;
    return advanced(matrix_descriptor(Dev::matrix_address(begin + panel * panel_bytes), 0, 8 * row_bytes, swizzle),
                    bytes_inside);
  }
  /// As the right side of a product with weights: rows `depth * 16` to 15 more of it.
  template <class Dev>
  LISA_DEVICE std::uint64_t depth_of_product(int depth) const {
    return matrix_descriptor(Dev::matrix_address(begin + depth * 16 * row_bytes), panel_bytes, 8 * row_bytes, swizzle);
  }
};

/// Arguments with the tensors as copies take them. Each map's dimensions are the head's columns, then those named.
template <class Element, class TensorMap>
struct HopperAttentionArguments {
  RelativeAttentionArguments<Element> attention;
  TensorMap q, k, v;       // column of the grid, row of the grid, head, image
  TensorMap rel_h, rel_w;  // row of the table
};

/// Shared memory of a block: tiles of queries, tables, keys and values; for each query, the products with 127 distances
/// and then its terms of the key rows and at last its results; barriers.
template <class Element, int head_dim>
struct HopperAttentionShared {
  using Tile = PanelTile<head_dim>;
  static constexpr HopperAttentionTile choice = hopper_attention_tile(head_dim);
  static constexpr int queries_at = 0;
  static constexpr int row_tables_at = choice.query_rows * Tile::bytes;
  static constexpr int column_table_at = row_tables_at + choice.query_rows * Tile::bytes;
  static constexpr int stages_at = column_table_at + 2 * Tile::bytes;
  static constexpr int stage_bytes = 2 * Tile::bytes;
  static constexpr int scratch_at = stages_at + choice.stages * stage_bytes;
  /// Odd, so that eight rows are in different banks.
  static constexpr int scratch_pitch = 2 * Tile::rows + 1;
  static constexpr int barriers_at =
      scratch_at + choice.query_rows * Tile::rows * scratch_pitch * static_cast<int>(sizeof(float));
  static constexpr int barriers = 1 + 2 * choice.stages;
  static constexpr int bytes = barriers_at + barriers * static_cast<int>(sizeof(TransactionBarrier));
  static_assert(barriers_at % sizeof(TransactionBarrier) == 0, "HopperAttentionShared: barriers are of 8 bytes");
  static_assert(16 * TokenRows<Element, head_dim>::row_bytes <= 16 * scratch_pitch * static_cast<int>(sizeof(float)),
                "HopperAttentionShared: a warp's results must fit into its products");
  static_assert(bytes <= most_shared_bytes(Architecture::sm90a), "HopperAttentionShared: too much shared memory");
};

/// Why `global_attention_sm90a` can't do what `global_attention` can, in words; nullptr where it can.
template <class Element>
[[nodiscard]] inline const char* hopper_attention_refusal(const RelativeAttentionArguments<Element>& a) {
  const std::int64_t strides[] = {a.token_stride, a.token_stride * a.grid_width, a.head_stride, a.batch_stride};
  for (const std::int64_t stride : strides)
    if (stride < 1 || stride >= (std::int64_t{1} << 39))
      return "global attention on sm_90a: strides must be positive and below 2^39 elements";
  return nullptr;
}

/// Launch of `global_attention_sm90a`: a block for two rows of queries, head and image; two warpgroups multiply and a
/// warp copies.
template <class Element>
[[nodiscard]] inline LaunchGeometry hopper_attention_geometry(const RelativeAttentionArguments<Element>& a) {
  const HopperAttentionTile choice = hopper_attention_tile(a.head_dim);
  return {{ceil_div(a.grid_height, choice.query_rows), a.heads, a.batch},
          choice.threads(),
          a.head_dim == 64 ? HopperAttentionShared<Element, 64>::bytes : HopperAttentionShared<Element, 80>::bytes};
}

/// The arguments' tensors. A box is a panel of 64 rows, which may reach over the end of the grid's row.
/// @param encode TensorTiles to TensorMap
template <class TensorMap, class Element, class Encode>
[[nodiscard]] HopperAttentionArguments<Element, TensorMap> hopper_attention_arguments(
    const RelativeAttentionArguments<Element>& a, Encode encode) {
  const HopperAttentionTile choice = hopper_attention_tile(a.head_dim);
  constexpr int element_bytes = sizeof(Element);
  const auto swizzle = static_cast<Swizzle>(choice.panel_columns * element_bytes);
  const auto tokens = [&](const Element* part) {
    return encode(TensorTiles{part,
                              {a.head_dim, a.grid_width, a.grid_height, a.heads, a.batch},
                              {a.token_stride * element_bytes, a.token_stride * a.grid_width * element_bytes,
                               a.head_stride * element_bytes, a.batch_stride * element_bytes},
                              {choice.panel_columns, 64, 1, 1, 1},
                              swizzle});
  };
  const auto table = [&](const Element* rows, int side) {
    const std::int64_t row_bytes = a.head_dim * element_bytes, all = row_bytes * (2 * side - 1);
    return encode(TensorTiles{rows,
                              {a.head_dim, 2 * side - 1, 1, 1, 1},
                              {row_bytes, all, all, all},
                              {choice.panel_columns, 64, 1, 1, 1},
                              swizzle});
  };
  return {a, tokens(a.q), tokens(a.k), tokens(a.v), table(a.rel_h, a.grid_height), table(a.rel_w, a.grid_width)};
}

/// The warp that copies: what the block needs once, then a row of keys and values for each stage that is free.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void copy_tiles(const HopperAttentionArguments<Element, typename Dev::TensorMap>& arguments,
                            std::byte* shared, int first_row, int query_rows) {
  using Shared = HopperAttentionShared<Element, head_dim>;
  using Tile = PanelTile<head_dim>;
  const RelativeAttentionArguments<Element>& a = arguments.attention;
  const BlockIndex block = Dev::block_index();
  auto* const once = reinterpret_cast<TransactionBarrier*>(shared + Shared::barriers_at);
  TransactionBarrier *const full = once + 1, *const empty = full + Shared::choice.stages;
  const auto load = [&](int at, const typename Dev::TensorMap& map, int row, int grid_row, int head, int image,
                        TransactionBarrier* barrier) {
#pragma unroll
    for (int panel = 0; panel < Tile::panels; ++panel)
      Dev::load_tile(shared + at + panel * Tile::panel_bytes, map,
                     TileCoordinates{{panel * Tile::columns, row, grid_row, head, image}}, barrier);
  };
  Dev::arrive_expecting(once, (2 * query_rows + 2) * Tile::bytes);
  for (int i = 0; i < query_rows; ++i) {
    load(Shared::queries_at + i * Tile::bytes, arguments.q, 0, first_row + i, block.y, block.z, once);
    // 64 distances, so that key row y is in row 63 - y.
    load(Shared::row_tables_at + i * Tile::bytes, arguments.rel_h, first_row + i + a.grid_height - Tile::rows, 0, 0, 0,
         once);
  }
  for (int half = 0; half < 2; ++half)
    load(Shared::column_table_at + half * Tile::bytes, arguments.rel_w, half * Tile::rows, 0, 0, 0, once);
#pragma unroll 1
  for (int key_row = 0; key_row < a.grid_height; ++key_row) {
    const int stage = key_row % Shared::choice.stages, use = key_row / Shared::choice.stages;
    if (use > 0) Dev::wait_phase(empty + stage, (use - 1) % 2);
    Dev::arrive_expecting(full + stage, Shared::stage_bytes);
    const int at = Shared::stages_at + stage * Shared::stage_bytes;
    load(at, arguments.k, 0, key_row, block.y, block.z, full + stage);
    load(at + Tile::bytes, arguments.v, 0, key_row, block.y, block.z, full + stage);
  }
}

/// sums [64, 64] += 64 queries times 64 rows transposed, as products in flight.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void start_row_products(float (&sums)[8][4], const PanelTile<head_dim>& left,
                                    const PanelTile<head_dim>& right) {
#pragma unroll
  for (int depth = 0; depth < head_dim / 16; ++depth)
    Dev::template multiply_shared<Element, Major::k>(sums, left.template rows_of_product<Dev>(depth),
                                                     right.template rows_of_product<Dev>(depth));
  Dev::commit_products();
}

/// The same with the queries in registers.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void start_row_products(float (&sums)[8][4], const std::uint32_t (&left)[head_dim / 16][4],
                                    const PanelTile<head_dim>& right) {
#pragma unroll
  for (int depth = 0; depth < head_dim / 16; ++depth)
    Dev::template multiply_registers<Element, Major::k>(sums, left[depth], right.template rows_of_product<Dev>(depth));
  Dev::commit_products();
}

/// sums [64, head_dim] += weights [64, 64] values [64, head_dim], as products in flight.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void start_value_products(float (&sums)[head_dim / 8][4], const std::uint32_t (&weights)[4][4],
                                      const PanelTile<head_dim>& values) {
#pragma unroll
  for (int depth = 0; depth < 4; ++depth)
    Dev::template multiply_registers<Element, Major::own>(sums, weights[depth],
                                                          values.template depth_of_product<Dev>(depth));
  Dev::commit_products();
}

/// A tile of weights as the left operand of products.
template <class Dev, class Element>
LISA_DEVICE void pack_weights(std::uint32_t (&weights)[4][4], const float (&scores)[8][4]) {
#pragma unroll
  for (int depth = 0; depth < 4; ++depth)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float(&tile)[4] = scores[2 * depth + i / 2];
      weights[depth][i] = Dev::template pack<Element>(tile[i % 2 * 2], tile[i % 2 * 2 + 1]);
    }
}

/// `global_attention` for sm_90a. While the tensor cores multiply the weights of one row of keys with its values, and
/// before them the next row of keys with the queries, a warpgroup makes weights of the latter.
template <class Dev, class Element, int head_dim>
LISA_DEVICE void global_attention_sm90a(const HopperAttentionArguments<Element, typename Dev::TensorMap>& arguments) {
  using Shared = HopperAttentionShared<Element, head_dim>;
  using Tile = PanelTile<head_dim>;
  using Rows = TokenRows<Element, head_dim>;
  constexpr int stages = Shared::choice.stages;
  const RelativeAttentionArguments<Element>& a = arguments.attention;
  const BlockIndex block = Dev::block_index();
  const int thread = Dev::thread_index(), lane = thread % 32, warpgroup = thread / 128;
  const int first_row = block.x * Shared::choice.query_rows, rows_left = a.grid_height - first_row;
  const int query_rows = rows_left < Shared::choice.query_rows ? rows_left : Shared::choice.query_rows;

  std::byte* const shared = Dev::shared_memory();
  auto* const once = reinterpret_cast<TransactionBarrier*>(shared + Shared::barriers_at);
  TransactionBarrier *const full = once + 1, *const empty = full + stages;
  if (thread == 0) {
    Dev::init_barrier(once, 1);
    for (int stage = 0; stage < stages; ++stage) {
      Dev::init_barrier(full + stage, 1);
      Dev::init_barrier(empty + stage, 4 * query_rows);  // an arrival of each warp that multiplies
    }
    Dev::fence_async_proxy();
  }
  Dev::barrier();  // the barriers are there for all
  if (warpgroup == Shared::choice.query_rows) {
    if (lane == 0) copy_tiles<Dev, Element, head_dim>(arguments, shared, first_row, query_rows);
    return;
  }
  if (warpgroup >= query_rows) return;

  const auto tile_at = [&](int byte) { return Tile{shared + byte}; };
  const auto keys = [&](int key_row) { return tile_at(Shared::stages_at + key_row % stages * Shared::stage_bytes); };
  const auto values = [&](int key_row) {
    return tile_at(Shared::stages_at + key_row % stages * Shared::stage_bytes + Tile::bytes);
  };
  const Tile query_tile = tile_at(Shared::queries_at + warpgroup * Tile::bytes);
  const int first_query = thread % 128 / 32 * 16;  // of the warp, in its row of queries
  float* const scratch = reinterpret_cast<float*>(shared + Shared::scratch_at) +
                         (warpgroup * Tile::rows + first_query) * Shared::scratch_pitch;

  float scores[8][4];
  float column_terms[8][4];  // over the scale, so that scores are scale * (term + q.k)
  const auto multiply_table = [&](int byte) {
#pragma unroll
    for (int tile = 0; tile < 8; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[tile][i] = 0.0F;
    Dev::fence_products(scores);
    start_row_products<Dev, Element, head_dim>(scores, query_tile, tile_at(byte));
    Dev::template wait_products<0>(scores);
  };
  Dev::wait_phase(once, 0);
#pragma unroll 1
  for (int half = 0; half < 2; ++half) {
    multiply_table(Shared::column_table_at + half * Tile::bytes);
    store_products(scratch, Shared::scratch_pitch, half * Tile::rows, scores, lane);
  }
  Dev::sync_warp();
  read_skewed(column_terms, scratch, Shared::scratch_pitch, lane, a.grid_width, a.scale,
              [&](int row) { return first_query + row; });
  multiply_table(Shared::row_tables_at + warpgroup * Tile::bytes);
  Dev::sync_warp();  // all lanes have their column terms; the terms of the key rows take the products' place
  store_products(scratch, Shared::scratch_pitch, 0, scores, lane);
  Dev::sync_warp();

  // From registers the queries leave shared memory's bandwidth to the keys, which are read again for each row of them.
  std::uint32_t queries[head_dim / 16][4];
#pragma unroll
  for (int depth = 0; depth < head_dim / 16; ++depth)
    Dev::load_matrix(queries[depth], query_tile.at(first_query + lane % 16, depth * 16 + lane / 16 * 8));
  const float to_log2 = a.scale * log2_of_e;
  float sums[head_dim / 8][4] = {};
  std::uint32_t weights[4][4];
  float shrink[2];
  SoftmaxRows softmax;
  const auto start_scores = [&](int key_row) {
    Dev::wait_phase(full + key_row % stages, key_row / stages % 2);
#pragma unroll
    for (int tile = 0; tile < 8; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[tile][i] = column_terms[tile][i];
  };
  const auto add_weights = [&](int key_row) {
    float row_term[2];
#pragma unroll
    for (int half = 0; half < 2; ++half)
      row_term[half] =
          scratch[fragment_row(lane, 2 * half) * Shared::scratch_pitch + Tile::rows - 1 - key_row] * log2_of_e;
    softmax.weigh<Dev>(scores, to_log2, row_term, shrink);
  };
  start_scores(0);
  Dev::fence_products(scores, queries);
  start_row_products<Dev, Element, head_dim>(scores, queries, keys(0));
  Dev::template wait_products<0>(scores);
  add_weights(0);
  pack_weights<Dev, Element>(weights, scores);
#pragma unroll 1
  for (int key_row = 1; key_row < a.grid_height; ++key_row) {
    start_scores(key_row);
    Dev::fence_products(scores, queries, sums, weights);
    start_row_products<Dev, Element, head_dim>(scores, queries, keys(key_row));
    start_value_products<Dev, Element, head_dim>(sums, weights, values(key_row - 1));
    Dev::template wait_products<1>(scores);
    add_weights(key_row);
    Dev::template wait_products<0>(sums, weights);
    if (lane == 0) Dev::arrive(empty + (key_row - 1) % stages);  // the warp has touched it through products only
#pragma unroll
    for (int tile = 0; tile < head_dim / 8; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[tile][i] *= shrink[i / 2];
    pack_weights<Dev, Element>(weights, scores);
  }
  Dev::fence_products(sums, weights);
  start_value_products<Dev, Element, head_dim>(sums, weights, values(a.grid_height - 1));
  Dev::template wait_products<0>(sums, weights);

  const float factors[2] = {1.0F / row_sum<Dev>(softmax.weight_sum[0]), 1.0F / row_sum<Dev>(softmax.weight_sum[1])};
  const int query_row = first_row + warpgroup;
  const std::int64_t outputs = block.z * a.out_batch_stride + block.y * a.out_head_stride;
  Dev::sync_warp();  // all lanes have read their terms; results take their place
  store_rows<Dev>(sums, factors, Rows{reinterpret_cast<Element*>(scratch)}, lane, [&](int row) -> Element* {
    const int x = first_query + row;
    return x < a.grid_width
               ? a.out + outputs + (static_cast<std::int64_t>(query_row) * a.grid_width + x) * a.out_token_stride
               : nullptr;
  });
}

}  // namespace lisa::cuda
