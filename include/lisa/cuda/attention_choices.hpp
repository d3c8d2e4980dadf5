#pragma once

#include "lisa/cuda/architecture.hpp"
#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/launch_geometry.hpp"

// How the attention kernels divide their work: what a GPU will say should be otherwise is changed here. Each choice is
// a function of all that it may come to depend on, of which most is not used yet. All are static, so that the kernels'
// loops and registers are.

namespace lisa::cuda {

/// A block's queries, 16 for each warp, and the keys of one of its stages.
struct AttentionTile {
  int queries;
  int keys;
  [[nodiscard]] LISA_HOST_DEVICE constexpr int threads() const { return queries / 16 * 32; }
};

/// `global_attention`: a row of the largest grid against another; the column's term, which is the same for each row of
/// keys, is what decides for whole rows.
template <class Element>
[[nodiscard]] LISA_HOST_DEVICE constexpr AttentionTile global_attention_tile(Architecture, int /*head_dim*/) {
  return {64, 64};
}

/// `causal_attention`.
template <class Element>
[[nodiscard]] LISA_HOST_DEVICE constexpr AttentionTile causal_attention_tile(Architecture, int /*head_dim*/) {
  return {64, 64};
}

/// A block's own rows in the gradients of causal attention, queries or keys, 16 for each warp, and those of the other
/// side in one of its stages.
struct GradientTile {
  int rows;
  int stage_rows;
  [[nodiscard]] LISA_HOST_DEVICE constexpr int threads() const { return rows / 16 * 32; }
};

/// `query_terms`, `query_gradient` and `key_gradient`. A stage of 64 would not leave enough registers at head_dim 128.
template <class Element>
[[nodiscard]] LISA_HOST_DEVICE constexpr GradientTile causal_gradient_tile(Architecture, int /*head_dim*/) {
  return {64, 32};
}

/// Warps of a block of `decode_attention`, and keys that each takes at a time.
struct DecodeTile {
  int warps;
  int warp_keys;
  [[nodiscard]] LISA_HOST_DEVICE constexpr int keys() const { return warps * warp_keys; }
  [[nodiscard]] LISA_HOST_DEVICE constexpr int threads() const { return warps * 32; }
};

/// `decode_attention`.
template <class Element>
[[nodiscard]] LISA_HOST_DEVICE constexpr DecodeTile decode_attention_tile(Architecture, int /*head_dim*/) {
  return {4, 16};
}

/// Warps of a block of `window_attention`; a warp has the scores of a whole window's keys in registers.
struct WindowTile {
  int warps;
  [[nodiscard]] LISA_HOST_DEVICE constexpr int threads() const { return warps * 32; }
};

/// `window_attention`: two rows of queries for each warp.
template <class Element>
[[nodiscard]] LISA_HOST_DEVICE constexpr WindowTile window_attention_tile(Architecture, int /*head_dim*/, int side) {
  return {ceil_div(side, 2)};
}

/// How `global_attention_sm90a` divides its work.
struct HopperAttentionTile {
  int query_rows;     ///< rows of 64 queries of a block, one for each warpgroup that multiplies
  int stages;         ///< rows of keys and values in shared memory
  int panel_columns;  ///< of a row in shared memory: a whole row of its swizzle
  [[nodiscard]] LISA_HOST_DEVICE constexpr int threads() const { return query_rows * 128 + 32; }  ///< with the copying
};

/// `global_attention_sm90a`. Rows of 64 elements of 16 bits fill the widest swizzle. 80 are not a multiple of it, and
/// are five panels of 16, each a step of the product's depth, so that nothing is padded.
[[nodiscard]] LISA_HOST_DEVICE constexpr HopperAttentionTile hopper_attention_tile(int head_dim) {
  return {2, 4, head_dim % 64 == 0 ? 64 : 16};
}

}  // namespace lisa::cuda
