#pragma once

#include <cstdint>

namespace lisa::cuda {

/// A bfloat16 as it lies in memory: the upper half of an IEEE single.
struct Bf16 {
  std::uint16_t bits;
};

/// An IEEE half as it lies in memory.
struct Fp16 {
  std::uint16_t bits;
};

/// Two 16-bit elements in a register, the one with the lower address in the lower half.
using ElementPair = std::uint32_t;

/// 16 bytes that move in one access; their address must be a multiple of 16.
struct alignas(16) Vector16 {
  std::uint32_t words[4];
};

/// Coordinates of a thread's block in the grid.
struct BlockIndex {
  int x, y, z;
};

}  // namespace lisa::cuda
