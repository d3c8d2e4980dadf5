#include "tensor_map.hpp"

#include <stdexcept>
#include <string>

namespace simt {

using lisa::cuda::Swizzle;
using lisa::cuda::TensorTiles;

namespace {

constexpr int piece_bytes = 16, element_bytes = 2, dimensions = 5;

void require(bool holds, const std::string& what) {
  if (!holds) throw std::invalid_argument("tensor map: " + what);
}

}  // namespace

TensorMap tensor_map(const TensorTiles& tiles) {
  require(reinterpret_cast<std::uintptr_t>(tiles.begin) % piece_bytes == 0, "must start at a multiple of 16 bytes");
  for (int d = 0; d < dimensions; ++d) {
    require(tiles.extents[d] >= 1 && tiles.extents[d] <= std::int64_t{1} << 32, "extents must be 1 to 2^32");
    require(tiles.box[d] >= 1 && tiles.box[d] <= 256, "a box has 1 to 256 elements along a dimension");
  }
  for (const std::int64_t stride : tiles.strides)
    require(stride > 0 && stride % piece_bytes == 0 && stride < std::int64_t{1} << 40,
            "strides must be multiples of 16 bytes, positive and below 2^40");
  const int row = tiles.box[0] * element_bytes;
  require(row % piece_bytes == 0, "rows of a box must be multiples of 16 bytes");
  require(tiles.swizzle == Swizzle::none || row == static_cast<int>(tiles.swizzle),
          "a row of the box must be a row of the swizzle");
  return {tiles};
}

std::uint32_t swizzled(std::uint32_t offset, Swizzle swizzle) {
  if (swizzle == Swizzle::none) return offset;
  const std::uint32_t units = static_cast<std::uint32_t>(swizzle) / piece_bytes;
  return offset ^ ((offset >> 7 & (units - 1)) << 4);
}

void for_each_piece(const TensorMap& map, const lisa::cuda::TileCoordinates& tile,
                    const std::function<void(std::uint32_t, const std::byte*)>& piece) {
  const TensorTiles& t = map.tiles;
  constexpr int elements = piece_bytes / element_bytes;
  int at[dimensions] = {};
  for (std::uint32_t offset = 0; offset < static_cast<std::uint32_t>(t.box_bytes()); offset += piece_bytes) {
    bool inside = true;
    const auto* source = static_cast<const std::byte*>(t.begin);
    for (int d = 0; d < dimensions; ++d) {
      const std::int64_t coordinate = std::int64_t{tile.at[d]} + at[d];
      inside = inside && coordinate >= 0 && coordinate < t.extents[d];
      source += coordinate * (d == 0 ? element_bytes : t.strides[d - 1]);
    }
    piece(offset, inside ? source : nullptr);
    at[0] += elements;
    for (int d = 0; d + 1 < dimensions && at[d] >= t.box[d]; ++d) {
      at[d] = 0;
      ++at[d + 1];
    }
  }
}

}  // namespace simt
