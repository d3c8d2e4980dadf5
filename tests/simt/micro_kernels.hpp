#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "lisa/cuda/launch_geometry.hpp"

namespace simt {

/// What every micro-kernel gets.
struct MicroArguments {
  const std::uint32_t* in;  // [1024], 0, 1, 2 ...
  std::uint32_t* data;      // [1024], zeros
  std::uint32_t* out;       // [1024], uninitialised
  std::uint8_t* bytes;      // [1024], zeros
};
inline constexpr int micro_elements = 1024;

/// A kernel of a few lines with one thing right or wrong about it.
struct MicroKernel {
  std::string_view name;
  lisa::cuda::LaunchGeometry geometry;
  void (*kernel)(const MicroArguments&);
  /// Words of the fault that must stop it; empty where it runs to its end.
  std::string_view fault = {};
};

/// Each has at least one race, or reads what nothing has written or what has not arrived.
[[nodiscard]] std::vector<MicroKernel> racy_kernels();
/// Their right counterparts, in the same order and with the same names.
[[nodiscard]] std::vector<MicroKernel> race_free_kernels();
/// Each must be stopped.
[[nodiscard]] std::vector<MicroKernel> faulty_kernels();

// The same for the operations of HopperDevice: transaction barriers and tensor copies, and products of warpgroups.
[[nodiscard]] std::vector<MicroKernel> racy_tile_kernels();
[[nodiscard]] std::vector<MicroKernel> race_free_tile_kernels();
[[nodiscard]] std::vector<MicroKernel> faulty_tile_kernels();
[[nodiscard]] std::vector<MicroKernel> racy_product_kernels();
[[nodiscard]] std::vector<MicroKernel> race_free_product_kernels();
[[nodiscard]] std::vector<MicroKernel> faulty_product_kernels();

}  // namespace simt
