#pragma once

#include <cstdint>
#include <string>

#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"

namespace lisa {

/// Bounds that a picture file must keep; all are checked on its header, before memory for its pixels is taken.
struct ImageLimits {
  std::int64_t max_pixels = 178'956'970;                   ///< width * height; the bound above which Pillow refuses
  std::int64_t max_file_bytes = std::int64_t{1} << 30;     ///< size of the encoded file
  std::int64_t max_decoder_bytes = std::int64_t{2} << 30;  ///< working memory of a decoder beside the pixels
  int max_jpeg_scans = 100;                                ///< scans of a progressive JPEG; usual files have about ten
};

/// Checks a size found in a header and narrows it. `place` names the header. Throws FormatError for an empty picture
/// and LimitError for one with too many pixels.
[[nodiscard]] inline ImageSize checked_size(const std::string& file, const std::string& place, std::int64_t width,
                                            std::int64_t height, const ImageLimits& limits) {
  const std::string size = std::to_string(width) + "x" + std::to_string(height) + " pixels";
  if (width < 1 || height < 1) throw FormatError(file, place, found_expected(size, "at least one pixel on each side"));
  if (width > INT32_MAX || height > INT32_MAX || width > limits.max_pixels / height)
    throw LimitError(file, place, found_expected(size, "at most " + std::to_string(limits.max_pixels) + " in all"));
  return {static_cast<int>(height), static_cast<int>(width)};
}

}  // namespace lisa
