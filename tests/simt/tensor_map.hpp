#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "device.hpp"
#include "lisa/cuda/hopper_types.hpp"

namespace simt {

/// The twin of CUtensorMap.
struct TensorMap {
  lisa::cuda::TensorTiles tiles;
};

/// @throws std::invalid_argument for what cuTensorMapEncodeTiled refuses (its documentation in cuda.h), and for boxes
///         that do not fill the rows of their swizzle
[[nodiscard]] TensorMap tensor_map(const lisa::cuda::TensorTiles& tiles);

/// Where 16 bytes at `offset` of shared memory lie with a swizzle: the unit's number inside its row of 2, 4 or 8 units
/// is combined with the number of the 128 bytes it is in (CUTLASS, Swizzle<1 to 3, 4, 3>).
[[nodiscard]] std::uint32_t swizzled(std::uint32_t offset, lisa::cuda::Swizzle swizzle);

/// Calls `piece(offset, source)` for each 16 bytes of a tile, in the order of their unswizzled offsets; `source` is
/// nullptr outside of the tensor. The contiguous dimension must be inside or outside by whole pieces.
void for_each_piece(const TensorMap& map, const lisa::cuda::TileCoordinates& tile,
                    const std::function<void(std::uint32_t offset, const std::byte* source)>& piece);

}  // namespace simt
