#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "lisa/image/image.hpp"

namespace lisa {

/// Orientation (1..8) stored in the first directory of a TIFF structure, as found in a JPEG's EXIF segment after
/// "Exif\0\0" (EXIF 2.32, tag 0x0112). 1, "as stored", where the structure is damaged, holds no such tag or another
/// value: a defect in metadata never hides a picture. Only the first directory is read, so links between directories
/// cannot loop.
[[nodiscard]] inline int exif_orientation(std::span<const std::uint8_t> tiff) {
  if (tiff.size() < 8 || tiff[0] != tiff[1] || (tiff[0] != 'I' && tiff[0] != 'M')) return 1;
  const bool little = tiff[0] == 'I';
  const auto u16 = [&](std::size_t at) {
    const std::uint32_t first = tiff[at], second = tiff[at + 1];
    return little ? first | second << 8 : first << 8 | second;
  };
  const auto u32 = [&](std::size_t at) { return little ? u16(at) | u16(at + 2) << 16 : u16(at) << 16 | u16(at + 2); };
  if (u16(2) != 42) return 1;
  const std::size_t directory = u32(4);
  if (directory > tiff.size() - 2) return 1;
  const std::size_t entries = u16(directory);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * 12;
    if (entry > tiff.size() - 12 || tiff.size() < 12) return 1;
    if (u16(entry) != 0x0112) continue;
    const std::uint32_t value = u16(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

/// `image` turned and mirrored so that a picture stored with an EXIF orientation stands upright (values 2 to 8; any
/// other leaves it as it is).
[[nodiscard]] inline Image upright(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool swaps_sides = orientation >= 5;
  Image out = make_image(swaps_sides ? ImageSize{image.width, image.height} : image.size());
  const int right = image.width - 1, bottom = image.height - 1;
  for (int y = 0; y < out.height; ++y) {
    std::uint8_t* target = out.row(y);
    for (int x = 0; x < out.width; ++x, target += 3) {
      std::pair<int, int> from{x, y};  // column and row of the stored picture
      switch (orientation) {
        case 2:
          from = {right - x, y};
          break;
        case 3:
          from = {right - x, bottom - y};
          break;
        case 4:
          from = {x, bottom - y};
          break;
        case 5:
          from = {y, x};
          break;
        case 6:
          from = {y, bottom - x};
          break;
        case 7:
          from = {right - y, bottom - x};
          break;
        default:
          from = {right - y, x};
          break;
      }
      const std::uint8_t* source = image.row(from.second) + static_cast<std::size_t>(from.first) * 3;
      target[0] = source[0];
      target[1] = source[1];
      target[2] = source[2];
    }
  }
  return out;
}

}  // namespace lisa
