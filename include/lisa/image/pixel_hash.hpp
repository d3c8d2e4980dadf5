#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

#include "lisa/files/crc32c.hpp"
#include "lisa/image/image.hpp"

namespace lisa {

/// What tells pictures apart: their size and 96 bits of their pixels, FNV-1a beside a CRC. Not made against someone who
/// looks for two pictures with one hash.
struct PixelHash {
  int width = 0;
  int height = 0;
  std::uint64_t fnv = 0;
  std::uint32_t crc = 0;
  auto operator<=>(const PixelHash&) const = default;

  /// As part of a file name.
  [[nodiscard]] std::string text() const {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%dx%d-%016llx%08x", width, height, static_cast<unsigned long long>(fnv),
                  crc);
    return text.data();
  }
};

[[nodiscard]] inline PixelHash pixel_hash(const Image& image) {
  std::uint64_t fnv = 0xcbf29ce484222325U;
  for (const std::uint8_t byte : image.pixels) fnv = (fnv ^ byte) * 0x100000001b3U;
  return {image.width, image.height, fnv, crc32c(std::as_bytes(std::span(image.pixels)))};
}

}  // namespace lisa
