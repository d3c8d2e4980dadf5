#pragma once

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/launch_geometry.hpp"

// How a mask's pixels are shared out among the blocks of `mask_upsample`.

namespace lisa::cuda {

/// Pixels that one warp computes: each lane two columns, 32 apart, from top to bottom.
inline constexpr int mask_tile_width = 64, mask_tile_height = 32;
/// Warps of a block, one below the other, and their threads.
inline constexpr int mask_block_warps = 4;
inline constexpr int mask_block_threads = mask_block_warps * 32;

/// Blocks beside each other; those below each other are a strip of columns.
[[nodiscard]] LISA_HOST_DEVICE constexpr int mask_strips(int width) { return ceil_div(width, mask_tile_width); }
/// Blocks of a strip.
[[nodiscard]] LISA_HOST_DEVICE constexpr int mask_strip_blocks(int height) {
  return ceil_div(height, mask_block_warps * mask_tile_height);
}

}  // namespace lisa::cuda
