#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

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

/// The pixels of an image of `size` whose label, of [H, W], satisfies `belongs`. Throws InputError for an empty size.
template <class Belongs>
[[nodiscard]] BitMask pixels_where(const std::vector<std::uint8_t>& labels, ImageSize size, const Belongs& belongs) {
  BitMask out(size);
  const std::uint8_t* label = labels.data();
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; ++x, ++label)
      if (belongs(*label)) out.set(x, y);
  return out;
}

/// Foreground where `mask` holds 1; ignored pixels and other values are background, as LISA trains on ReasonSeg.
/// Throws InputError for a mask without pixels.
[[nodiscard]] inline BitMask foreground(const LabelMask& mask) {
  return pixels_where(mask.labels, mask.size, [](std::uint8_t label) { return label == 1; });
}

/// Gives the foreground of `pixels`, which has the size of `mask`, this label.
inline void paint(LabelMask& mask, const BitMask& pixels, std::uint8_t label) {
  std::uint8_t* out = mask.labels.data();
  for (int y = 0; y < mask.size.height; ++y)
    for (int x = 0; x < mask.size.width; ++x, ++out)
      if (pixels.at(x, y)) *out = label;
}

/// Whether no pixel is foreground.
[[nodiscard]] inline bool is_empty(const LabelMask& mask) {
  return std::none_of(mask.labels.begin(), mask.labels.end(),
                      [](std::uint8_t label) { return label != 0 && label != LabelMask::ignored; });
}

}  // namespace lisa
