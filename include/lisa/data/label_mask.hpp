#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "lisa/data/sample.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"

namespace lisa {

/// A mask of `size` that is all background: what an absent object's mask should be.
[[nodiscard]] inline LabelMask empty_label_mask(ImageSize size) {
  return {size,
          std::vector<std::uint8_t>(static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width))};
}

/// 1 where `mask` is foreground, else 0.
[[nodiscard]] inline LabelMask label_mask(const BitMask& mask) { return {mask.size(), mask_bytes(mask)}; }

/// Foreground where `mask` holds 1; ignored pixels and other values are background, as LISA trains on ReasonSeg.
/// Throws InputError for a mask without pixels.
[[nodiscard]] inline BitMask foreground(const LabelMask& mask) {
  BitMask out(mask.size);
  const std::uint8_t* label = mask.labels.data();
  for (int y = 0; y < mask.size.height; ++y)
    for (int x = 0; x < mask.size.width; ++x, ++label)
      if (*label == 1) out.set(x, y);
  return out;
}

/// Whether no pixel is foreground.
[[nodiscard]] inline bool is_empty(const LabelMask& mask) {
  return std::none_of(mask.labels.begin(), mask.labels.end(),
                      [](std::uint8_t label) { return label != 0 && label != LabelMask::ignored; });
}

}  // namespace lisa
