#pragma once

#include <cstdint>

#include "lisa/cuda/attention_choices.hpp"
#include "lisa/cuda/relative_attention.cuh"

namespace lisa::cuda {

/// Attention inside windows of `window_side` x `window_side` tokens. The last windows of a row or column may reach over
/// the grid: what lies outside are keys like any other, all with the same key and value, and no queries (SAM pads the
/// normalised tokens with zeros and has no mask, so that a padding token's projections are their biases).
template <class Element>
struct WindowAttentionArguments {
  RelativeAttentionArguments<Element> attention;  // rel_h and rel_w for rows and columns of a window
  const Element* key_padding;                     // [heads, head_dim]
  const Element* value_padding;                   // [heads, head_dim]
  int window_side;
};

/// The side of SAM's windows, the only one that is compiled.
inline constexpr int sam_window_side = 14;

/// Why `window_attention` can't do this, in words; nullptr where it can. `batch` may be 0.
template <class Element>
[[nodiscard]] inline const char* window_attention_refusal(const WindowAttentionArguments<Element>& a) {
  if (a.window_side != sam_window_side) return "window attention: windows must have a side of 14 tokens";
  if (a.attention.grid_height < 1 || a.attention.grid_height > 4096 || a.attention.grid_width < 1 ||
      a.attention.grid_width > 4096)
    return "window attention: the grid must have 1 to 4096 tokens per side";
  if (!rows_aligned(a.key_padding, 0) || !rows_aligned(a.value_padding, 0))
    return "window attention: the padding's key and value must start at multiples of 16 bytes";
  return relative_attention_refusal(a.attention);
}

/// Shared memory of a block: keys and values of the window, both position tables, and 16 rows for each warp.
template <class Element, int head_dim, int side>
struct WindowAttentionShared {
  using Rows = TokenRows<Element, head_dim>;
  static_assert(side >= 1 && side <= 16, "WindowAttentionShared: a row of the window must fit into 16 keys");
  static constexpr WindowTile tile = window_attention_tile<Element>(Architecture::sm80, head_dim, side);
  static constexpr int distances = 2 * side - 1;
  static constexpr int values_at = side * side * Rows::row_bytes;
  static constexpr int row_table_at = 2 * values_at;
  static constexpr int column_table_at = row_table_at + distances * Rows::row_bytes;
  static constexpr int scratch_at = column_table_at + distances * Rows::row_bytes;
  static constexpr int scratch_bytes = 16 * Rows::row_bytes;
  /// Products of a query with all distances, in 32 columns; odd, so that eight rows are in different banks.
  static constexpr int product_pitch = 33;
  static constexpr int bytes = scratch_at + tile.warps * scratch_bytes;
  static_assert(16 * product_pitch * static_cast<int>(sizeof(float)) <= scratch_bytes,
                "WindowAttentionShared: the products must fit into a warp's rows");
  static_assert(bytes <= most_shared_bytes(Architecture::sm80), "WindowAttentionShared: too much shared memory");
};

/// Launch of `window_attention`: a block for each window, head and image.
template <int side, class Element>
[[nodiscard]] inline LaunchGeometry window_attention_geometry(const WindowAttentionArguments<Element>& a) {
  const RelativeAttentionArguments<Element>& grid = a.attention;
  return {{ceil_div(grid.grid_height, side) * ceil_div(grid.grid_width, side), grid.heads, grid.batch},
          window_attention_tile<Element>(Architecture::sm80, grid.head_dim, side).threads(),
          grid.head_dim == 64 ? WindowAttentionShared<Element, 64, side>::bytes
                              : WindowAttentionShared<Element, 80, side>::bytes};
}

/// The kernel. A warp takes one row of queries at a time against all keys, whose scores are in registers all at once,
/// so that the softmax has one step. Each row of keys is a product's 16 columns: the term of the key's column is the
/// same for all of them and is what they begin with; the columns behind the window's side repeat its last key with a
/// weight of 0.
template <class Dev, class Element, int head_dim, int side>
LISA_DEVICE void window_attention(const WindowAttentionArguments<Element>& arguments) {
  using Rows = TokenRows<Element, head_dim>;
  using Shared = WindowAttentionShared<Element, head_dim, side>;
  constexpr int window_warps = Shared::tile.warps, threads = Shared::tile.threads();
  const RelativeAttentionArguments<Element>& a = arguments.attention;
  const BlockIndex block = Dev::block_index();
  const int thread = Dev::thread_index(), warp = thread / 32;
  const int windows_per_row = ceil_div(a.grid_width, side);
  const int top = block.x / windows_per_row * side, left_edge = block.x % windows_per_row * side;

  std::byte* const shared = Dev::shared_memory();
  const auto rows_at = [&](int byte) { return Rows{reinterpret_cast<Element*>(shared + byte)}; };
  const Rows keys = rows_at(0), values = rows_at(Shared::values_at);
  const Rows row_table = rows_at(Shared::row_table_at), column_table = rows_at(Shared::column_table_at);
  const int own_scratch = Shared::scratch_at + warp * Shared::scratch_bytes;
  const Rows scratch = rows_at(own_scratch);

  const std::int64_t inputs = block.z * a.batch_stride + block.y * a.head_stride;
  const auto in_grid = [&](int y, int x) { return top + y < a.grid_height && left_edge + x < a.grid_width; };
  const auto token_number = [&](int y, int x) {
    return static_cast<std::int64_t>(top + y) * a.grid_width + left_edge + x;
  };
  const auto key_or_padding = [&](const Element* part, const Element* padding) {
    return [&a, &in_grid, &token_number, part, padding, inputs, head = block.y](int key) {
      const int y = key / side, x = key % side;
      return in_grid(y, x) ? part + inputs + token_number(y, x) * a.token_stride : padding + head * head_dim;
    };
  };
  copy_rows<Dev>(keys, side * side, thread, threads, key_or_padding(a.k, arguments.key_padding));
  copy_rows<Dev>(values, side * side, thread, threads, key_or_padding(a.v, arguments.value_padding));
  copy_rows<Dev>(row_table, Shared::distances, thread, threads, [&](int d) { return a.rel_h + d * head_dim; });
  copy_rows<Dev>(column_table, Shared::distances, thread, threads, [&](int d) { return a.rel_w + d * head_dim; });
  Dev::commit_copies();
  Dev::template wait_copies<0>();
  Dev::barrier();  // the only one: from here on warps share what nobody writes

  const auto at_most = [](int value, int last) { return value < last ? value : last; };
  const float to_log2 = a.scale * log2_of_e;
#pragma unroll 1
  for (int query_row = warp; query_row < side; query_row += window_warps) {
    if (top + query_row >= a.grid_height) break;
    const int lane = Dev::unknown(thread % 32);  // else the addresses of all matrix loads would stay in registers
    copy_rows<Dev>(scratch, 16, lane, 32, [&](int x) -> const Element* {
      return x < side && in_grid(query_row, x) ? a.q + inputs + token_number(query_row, x) * a.token_stride : nullptr;
    });
    Dev::commit_copies();
    Dev::template wait_copies<0>();
    Dev::sync_warp();
    const LeftRows<head_dim> left = load_left_rows<Dev>(scratch, 0, lane);
    Dev::sync_warp();  // the queries are in registers; products take their place

    float column_terms[2][4];  // over the scale, so that scores are scale * (term + q.k)
    {
      float products[4][4] = {};
      multiply_rows<Dev>(products, left, column_table, lane,
                         [&](int distance) { return at_most(distance, Shared::distances - 1); });
      skew_terms<Dev>(column_terms, products, reinterpret_cast<float*>(shared + own_scratch), Shared::product_pitch,
                      lane, side, a.scale, [&](int row) { return at_most(row, side - 1); });
    }
    float row_products[2][4] = {};  // [16 queries, 16 key rows]
    multiply_rows<Dev>(row_products, left, row_table, lane,
                       [&](int key_row) { return query_row - at_most(key_row, side - 1) + side - 1; });

    // The term of a key row for the query in this lane's row `half`; the lanes of a row have two key rows each.
    const auto row_term = [&](int key_row, int half) {
      const float own = row_products[key_row / 8][2 * half + key_row % 2];
      return Dev::shuffle(own, lane / 4 * 4 + key_row % 8 / 2) * log2_of_e;
    };
    // The warp meets before each row of keys, which nothing asks for but ptxas: it would load the matrices of many rows
    // ahead, and have no registers left for them beside the 112 scores.
    float scores[side][2][4];
    float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int r = 0; r < side; ++r) {
#pragma unroll
      for (int tile = 0; tile < 2; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[r][tile][i] = column_terms[tile][i];
      Dev::sync_warp();
      multiply_rows<Dev>(scores[r], left, keys, lane, [&](int x) { return r * side + at_most(x, side - 1); });
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float(&near)[4] = scores[r][0];
        const float(&far)[4] = scores[r][1];
        const float of_row = fmaxf(fmaxf(near[2 * half], near[2 * half + 1]), fmaxf(far[2 * half], far[2 * half + 1]));
        largest[half] = fmaxf(largest[half], of_row * to_log2 + row_term(r, half));
      }
    }
    const float maximum[2] = {row_maximum<Dev>(largest[0]), row_maximum<Dev>(largest[1])};

    float sums[head_dim / 8][4] = {};
    float weight_sum[2] = {0.0F, 0.0F};
#pragma unroll
    for (int r = 0; r < side; ++r) {
      std::uint32_t weights[4];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float shift = row_term(r, half) - maximum[half];
#pragma unroll
        for (int tile = 0; tile < 2; ++tile) {
          const float near = Dev::exp2(scores[r][tile][2 * half] * to_log2 + shift);
          const float far = Dev::exp2(scores[r][tile][2 * half + 1] * to_log2 + shift);
          weight_sum[half] += near + far;
          weights[2 * tile + half] = Dev::template pack<Element>(near, far);
        }
      }
      Dev::sync_warp();
      multiply_values<Dev>(sums, weights, values, lane, [&](int x) { return r * side + at_most(x, side - 1); });
    }

    const float factors[2] = {1.0F / row_sum<Dev>(weight_sum[0]), 1.0F / row_sum<Dev>(weight_sum[1])};
    const std::int64_t outputs = block.z * a.out_batch_stride + block.y * a.out_head_stride;
    Dev::sync_warp();  // everyone has their column terms; results take the products' place
    store_rows<Dev>(sums, factors, scratch, lane, [&](int x) -> Element* {
      return x < side && in_grid(query_row, x) ? a.out + outputs + token_number(query_row, x) * a.out_token_stride
                                               : nullptr;
    });
    Dev::sync_warp();  // before the next row's queries take the results' place
  }
}

}  // namespace lisa::cuda
