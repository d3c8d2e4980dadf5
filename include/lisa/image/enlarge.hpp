#pragma once

#include <cstddef>
#include <cstdint>

#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"

namespace lisa {

/// Every pixel as a square of `factor` pixels. @param factor at least 1
[[nodiscard]] inline Image enlarge(const Image& image, int factor) {
  Image out = make_image({image.height * factor, image.width * factor});
  for (int y = 0; y < out.height; ++y) {
    const std::uint8_t* const from = image.row(y / factor);
    std::uint8_t* to = out.row(y);
    for (int x = 0; x < out.width; ++x)
      for (int channel = 0; channel < 3; ++channel) *to++ = from[3 * (x / factor) + channel];
  }
  return out;
}

/// The same for a mask.
[[nodiscard]] inline BitMask enlarge(const BitMask& mask, int factor) {
  BitMask out({mask.height() * factor, mask.width() * factor});
  for (int y = 0; y < out.height(); ++y)
    for (int x = 0; x < out.width(); ++x)
      if (mask.at(x / factor, y / factor)) out.set(x, y);
  return out;
}

}  // namespace lisa
