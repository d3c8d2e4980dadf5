#pragma once

#include "hopper_device.hpp"
#include "micro_body.hpp"

// What the micro-kernels for HopperDevice's operations have in common: two barriers behind four tiles.

namespace simt::hopper_micro {

inline constexpr int tile_bytes = 2048;  // 64 rows of 16 elements
inline constexpr int tile_words = tile_bytes / 4;
inline constexpr int barriers_at = 8192;
inline constexpr lisa::cuda::LaunchGeometry warpgroup{{1, 1, 1}, 128, 8192 + 64};
inline constexpr lisa::cuda::LaunchGeometry warpgroup_and_warp{{1, 1, 1}, 160, 8192 + 64};

inline lisa::cuda::TransactionBarrier* barrier(const Micro& m, int i = 0) {
  return reinterpret_cast<lisa::cuda::TransactionBarrier*>(m.s + barriers_at / 4) + i;
}

/// Two barriers, for all to use.
inline void init(const Micro& m, int first_arrivals = 1, int second_arrivals = 1) {
  if (m.t == 0) {
    HopperDevice::init_barrier(barrier(m, 0), first_arrivals);
    HopperDevice::init_barrier(barrier(m, 1), second_arrivals);
    HopperDevice::fence_async_proxy();
  }
  HopperDevice::barrier();
}

/// Words as rows of 16 elements, in boxes of 64 rows.
inline TensorMap map_of(const std::uint32_t* words, int rows = 128) {
  return tensor_map(
      {words, {16, rows, 1, 1, 1}, {32, 4096, 4096, 4096}, {16, 64, 1, 1, 1}, lisa::cuda::Swizzle::bytes32});
}

inline void load(const Micro& m, const std::uint32_t* from, int tile = 0, int number = 0) {
  HopperDevice::load_tile(m.s + tile * tile_words, map_of(from), {{0, 0, 0, 0, 0}}, barrier(m, number));
}
inline void announce_and_load(const Micro& m, const std::uint32_t* from, int tile = 0, int number = 0) {
  HopperDevice::arrive_expecting(barrier(m, number), tile_bytes);
  load(m, from, tile, number);
}

inline void fill(const Micro& m, int tile = 0) {
  for (int i = 0; i < 4; ++i) m.s[tile * tile_words + 4 * m.t + i] = static_cast<std::uint32_t>(m.t);
}

}  // namespace simt::hopper_micro
