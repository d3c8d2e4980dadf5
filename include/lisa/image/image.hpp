#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"

namespace lisa {

/// Height and width in pixels, in the order of tensors and NumPy arrays.
struct ImageSize {
  int height = 0;
  int width = 0;
  bool operator==(const ImageSize&) const = default;
};

/// "640x480": width and height, for messages.
[[nodiscard]] inline std::string shown_size(ImageSize size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

/// Part of an image, in pixels.
struct Rect {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;
  bool operator==(const Rect&) const = default;
};

/// An 8-bit RGB picture as decoders, preprocessing and drawing share it.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;  ///< [H, W, 3] red, green, blue, interleaved, rows from the top

  [[nodiscard]] ImageSize size() const { return {height, width}; }
  /// First byte of row `y`; 3 * width bytes follow.
  [[nodiscard]] const std::uint8_t* row(int y) const { return pixels.data() + row_offset(y); }
  [[nodiscard]] std::uint8_t* row(int y) { return pixels.data() + row_offset(y); }
  bool operator==(const Image&) const = default;

 private:
  [[nodiscard]] std::size_t row_offset(int y) const {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) * 3;
  }
};

/// Bytes of `pixels` that an image of this size has.
[[nodiscard]] constexpr std::size_t image_bytes(ImageSize size) {
  return static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width) * 3;
}

/// A black image of the given size. Throws InputError unless both sides are at least 1.
[[nodiscard]] inline Image make_image(ImageSize size) {
  if (size.height < 1 || size.width < 1)
    throw InputError("image", found_expected(shown_size(size) + " pixels", "at least one pixel on each side"));
  return {size.width, size.height, std::vector<std::uint8_t>(image_bytes(size))};
}

/// Throws InputError when an image that a caller filled is empty or its buffer does not fit its size.
inline void require_valid(const Image& image) {
  const std::string size = shown_size(image.size());
  if (image.width < 1 || image.height < 1)
    throw InputError("image", found_expected(size + " pixels", "at least one pixel on each side"));
  if (image.pixels.size() != image_bytes(image.size()))
    throw InputError("image",
                     found_expected(std::to_string(image.pixels.size()) + " bytes",
                                    std::to_string(image_bytes(image.size())) + " for " + size + " RGB pixels"));
}

}  // namespace lisa
