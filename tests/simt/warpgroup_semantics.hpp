#pragma once

#include <cstdint>

#include "lisa/cuda/hopper_types.hpp"

// What the products of a warpgroup compute and where their operands lie (PTX ISA, wgmma.mma_async: register fragments
// and canonical layouts; CUTLASS, cute/atom/mma_traits_sm90_gmma.hpp).

namespace simt {

inline constexpr int warpgroup_lanes = 128;
inline constexpr int product_rows = 64;
inline constexpr int product_depth = 16;

/// Place in shared memory, in bytes, of the 8 elements along the contiguous dimension of a matrix that begin with
/// element (`own`, `k`): `own` is the row of a left operand or the column of a right one. The index along the
/// contiguous dimension is a multiple of 8.
[[nodiscard]] std::uint32_t element_place(std::uint64_t descriptor, lisa::cuda::Major major, int own, int k);

/// Row and column of number `i` of a lane's sums [64, n], four for each 8 columns.
struct FragmentPlace {
  int row, column;
};
[[nodiscard]] FragmentPlace sum_place(int lane, int i);
/// Row and depth of number `i` of a lane's 8 elements of the left operand [64, 16], two in each register.
[[nodiscard]] FragmentPlace left_place(int lane, int i);

/// sums [64, columns] += left [64, 16] right [16, columns], one product after the other in the order of the depth: a
/// tensor core's order and rounding differ.
void multiply_accumulate(float* sums, const float* left, const float* right, int columns);

}  // namespace simt
