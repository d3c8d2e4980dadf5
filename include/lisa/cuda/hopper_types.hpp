#pragma once

#include <cstdint>

#include "lisa/cuda/device_function.hpp"

// What the operations of HopperDevice take: descriptions of tiles in global and shared memory, the same for the GPU and
// for the CPU that runs the tests.

namespace lisa::cuda {

/// A transaction barrier ("mbarrier") in shared memory: a phase ends when all arrivals have come and all bytes that
/// were announced have landed.
struct TransactionBarrier {
  std::uint64_t opaque;
};

/// How 16-byte units are exchanged inside of rows in shared memory, so that a column of them is in different banks: the
/// number is the bytes of a row.
enum class Swizzle : int { none = 0, bytes32 = 32, bytes64 = 64, bytes128 = 128 };

/// Coordinates of a tile's first element in its tensor, the contiguous dimension first. Negative ones are allowed.
struct TileCoordinates {
  int at[5];
};

/// A tensor of 16-bit elements in global memory and the box of it that one copy brings into shared memory, where the
/// box lies without gaps, the contiguous dimension first. What is outside of the tensor becomes zero.
struct TensorTiles {
  const void* begin;        // a multiple of 16
  std::int64_t extents[5];  // elements; at least 1
  std::int64_t strides[4];  // bytes from one to the next along dimensions 1 to 4; multiples of 16, below 2^40
  int box[5];               // elements; 1 to 256, box[0] a whole row of the swizzle
  Swizzle swizzle;

  [[nodiscard]] constexpr int box_bytes() const { return 2 * box[0] * box[1] * box[2] * box[3] * box[4]; }
};

/// Which dimension of a matrix in shared memory is contiguous: that of the sum (k), or its own.
enum class Major : int { k = 0, own = 1 };

/// How the product of a warpgroup finds a matrix in shared memory (PTX ISA, "Matrix Descriptor Format" of wgmma). Both
/// strides are in bytes, multiples of 16:
///   k-major:   `stride` from 8 rows to the next 8; `leading` from 8 columns to the next 8, used without swizzle only
///   own-major: with swizzle, `leading` from one row of the swizzle to the next along the own dimension and `stride`
///              from 8 of k to the next 8; without, the other way around
/// @param address of the first element in shared memory, a multiple of 16; the pattern of a swizzle starts at multiples
///                of eight of its rows
[[nodiscard]] LISA_HOST_DEVICE constexpr std::uint64_t matrix_descriptor(std::uint32_t address, int leading, int stride,
                                                                         Swizzle swizzle) {
  const auto encoded = [](std::uint32_t bytes) { return static_cast<std::uint64_t>((bytes & 0x3FFFF) >> 4); };
  const std::uint64_t layout = swizzle == Swizzle::bytes128  ? 1
                               : swizzle == Swizzle::bytes64 ? 2
                               : swizzle == Swizzle::bytes32 ? 3
                                                             : 0;
  return encoded(address) | encoded(static_cast<std::uint32_t>(leading)) << 16 |
         encoded(static_cast<std::uint32_t>(stride)) << 32 | layout << 62;
}

/// The descriptor of the same matrix `bytes` further on: what lies along the contiguous dimension of a swizzled row.
[[nodiscard]] LISA_HOST_DEVICE constexpr std::uint64_t advanced(std::uint64_t descriptor, int bytes) {
  return descriptor + static_cast<std::uint64_t>(bytes >> 4);
}

}  // namespace lisa::cuda
