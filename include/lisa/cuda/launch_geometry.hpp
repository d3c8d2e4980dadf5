#pragma once

#include "lisa/cuda/device_function.hpp"

namespace lisa::cuda {

/// Blocks of a launch along each axis.
struct GridExtent {
  int x = 1, y = 1, z = 1;
  bool operator==(const GridExtent&) const = default;
};

/// How a kernel is launched: one function of its arguments decides it, for the GPU and for the CPU that runs the tests.
struct LaunchGeometry {
  GridExtent grid;
  int threads = 0;       ///< of a block, a multiple of 32, all along x
  int shared_bytes = 0;  ///< dynamic shared memory of a block
  bool operator==(const LaunchGeometry&) const = default;
};

/// Quotient rounded up, for numerators of at least 0.
[[nodiscard]] LISA_HOST_DEVICE constexpr int ceil_div(int numerator, int denominator) {
  return (numerator + denominator - 1) / denominator;
}

}  // namespace lisa::cuda
