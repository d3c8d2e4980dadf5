#pragma once

#include <webp/decode.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/image/exif.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/image_limits.hpp"

namespace lisa {

namespace webp_detail {

inline std::uint32_t little_endian(const std::uint8_t* p) {
  return p[0] | std::uint32_t{p[1]} << 8 | std::uint32_t{p[2]} << 16 | std::uint32_t{p[3]} << 24;
}

/// Orientation in the container's EXIF chunk, 1 without one. The chunks must fit the file.
inline int orientation(std::span<const std::uint8_t> bytes, const std::string& file) {
  const std::uint64_t declared = std::uint64_t{little_endian(bytes.data() + 4)} + 8;
  if (declared > bytes.size())
    throw FormatError(
        file, "WebP byte 4",
        found_expected(std::to_string(bytes.size()) + " bytes", std::to_string(declared) + ", the size in the header"));
  std::size_t at = 12;
  while (declared >= at + 8) {
    const std::uint64_t length = little_endian(bytes.data() + at + 4);
    const std::uint64_t left = declared - at - 8;
    if (length > left)
      throw FormatError(file, "WebP byte " + std::to_string(at),
                        found_expected("a chunk of " + std::to_string(length) + " bytes",
                                       "at most the " + std::to_string(left) + " left in the file"));
    if (std::memcmp(bytes.data() + at, "EXIF", 4) == 0) {
      auto tiff = bytes.subspan(at + 8, static_cast<std::size_t>(length));
      if (tiff.size() >= 6 && std::memcmp(tiff.data(), "Exif\0", 6) == 0) tiff = tiff.subspan(6);
      return exif_orientation(tiff);
    }
    at += 8 + static_cast<std::size_t>(length + (length & 1));
  }
  return 1;
}

}  // namespace webp_detail

/// The picture of a WebP file, lossy or lossless, as cv2.imread(IMREAD_COLOR) gives it but in RGB order: EXIF
/// orientation applied, alpha dropped without blending. Animations are refused by name. `file` names the file in
/// errors. Throws FormatError for damaged or truncated content and LimitError.
[[nodiscard]] inline Image decode_webp(std::span<const std::uint8_t> bytes, const std::string& file,
                                       const ImageLimits& limits = {}) {
  WebPBitstreamFeatures features{};
  if (bytes.size() < 20 || WebPGetFeatures(bytes.data(), bytes.size(), &features) != VP8_STATUS_OK)
    throw FormatError(file, "WebP byte 0", "found a damaged header, expected a valid WebP");
  Image image = make_image(checked_size(file, "WebP header", features.width, features.height, limits));
  if (features.has_animation != 0) throw FormatError(file, "WebP header", "unsupported kind of WebP: animation");
  const int orientation = webp_detail::orientation(bytes, file);
  if (WebPDecodeRGBInto(bytes.data(), bytes.size(), image.pixels.data(), image.pixels.size(), image.width * 3) ==
      nullptr)
    throw FormatError(file, "WebP", "found damaged or missing data, expected a valid WebP");
  return upright(std::move(image), orientation);
}

}  // namespace lisa
