#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/image/decode_bmp.hpp"
#include "lisa/image/decode_jpeg.hpp"
#include "lisa/image/decode_png.hpp"
#include "lisa/image/decode_webp.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/image_limits.hpp"

namespace lisa {

/// Name of the picture format that `bytes` begin with ("PNG", "GIF", ...), by signature; empty when none is known.
[[nodiscard]] inline std::string_view image_format(std::span<const std::uint8_t> bytes) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), std::min<std::size_t>(bytes.size(), 16));
  struct Signature {
    std::size_t at;
    std::string_view bytes;
    std::string_view name;
  };
  using namespace std::string_view_literals;
  static constexpr std::array signatures{
      Signature{0, "\x89PNG\r\n\x1a\n"sv, "PNG"sv},
      Signature{0, "\xff\xd8\xff"sv, "JPEG"sv},
      Signature{8, "WEBP"sv, "WebP"sv},
      Signature{0, "BM"sv, "BMP"sv},
      Signature{0, "GIF8"sv, "GIF"sv},
      Signature{4, "ftypavif"sv, "AVIF"sv},
      Signature{4, "ftypavis"sv, "AVIF"sv},
      Signature{4, "ftyphe"sv, "HEIC"sv},
      Signature{4, "ftypmif1"sv, "HEIC"sv},
      Signature{4, "ftypmsf1"sv, "HEIC"sv},
      Signature{0, "II*\0"sv, "TIFF"sv},
      Signature{0, "MM\0*"sv, "TIFF"sv},
      Signature{0, "II+\0"sv, "TIFF"sv},
      Signature{0, "MM\0+"sv, "TIFF"sv},
      Signature{0, "\0\0\0\x0cjP  "sv, "JPEG 2000"sv},
      Signature{0, "\xff\x4f\xff\x51"sv, "JPEG 2000"sv},
      Signature{0, "\0\0\0\x0cJXL "sv, "JPEG XL"sv},
      Signature{0, "\xff\x0a"sv, "JPEG XL"sv},
      Signature{0, "8BPS"sv, "PSD"sv},
      Signature{0, "v/1\x01"sv, "OpenEXR"sv},
      Signature{0, "#?RADIANCE"sv, "Radiance HDR"sv},
      Signature{0, "\0\0\1\0"sv, "ICO"sv},
      Signature{0, "%PDF"sv, "PDF"sv},
      Signature{0, "<svg"sv, "SVG"sv},
      Signature{0, "<?xml"sv, "XML or SVG"sv},
  };
  for (const Signature& s : signatures)
    if (head.size() >= s.at + s.bytes.size() && head.substr(s.at, s.bytes.size()) == s.bytes &&
        (s.name != "WebP" || head.substr(0, 4) == "RIFF"))
      return s.name;
  if (head.size() >= 3 && head[0] == 'P' && head[1] >= '1' && head[1] <= '7' && (head[2] == '\n' || head[2] == ' '))
    return "PNM";
  return {};
}

/// The picture in an encoded file's bytes: PNG, JPEG, WebP or BMP, told by signature. Equal to
/// cv2.imread(IMREAD_COLOR) followed by BGR2RGB, the way LISA's chat.py reads: EXIF orientation applied, alpha dropped
/// without blending, 16 bits cut to 8. `file` names the source in errors.
/// Throws FormatError for other formats and for damaged or truncated data, LimitError for pictures beyond `limits`.
[[nodiscard]] inline Image decode_image(std::span<const std::uint8_t> bytes, const std::string& file,
                                        const ImageLimits& limits = {}) {
  if (bytes.empty()) throw FormatError(file, {}, "found an empty file, expected a picture");
  const std::string_view format = image_format(bytes);
  if (format == "PNG") return decode_png(bytes, file, limits);
  if (format == "JPEG") return decode_jpeg(bytes, file, limits);
  if (format == "WebP") return decode_webp(bytes, file, limits);
  if (format == "BMP") return decode_bmp(bytes, file, limits);
  constexpr const char* readable = "PNG, JPEG, WebP or BMP";
  if (format.empty())
    throw FormatError(
        file, {},
        found_expected("unknown content " + quoted(std::string_view{reinterpret_cast<const char*>(bytes.data()),
                                                                    std::min<std::size_t>(bytes.size(), 8)}),
                       readable));
  throw FormatError(file, {}, "unsupported format " + std::string(format) + ", expected " + readable);
}

namespace read_image_detail {

/// Whole content of a regular file of at most `max_bytes`. Does not wait on a FIFO or device.
inline std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path, const std::string& file,
                                            std::int64_t max_bytes) {
  const OpenedFile opened = open_regular_file(path);
  if (opened.size > static_cast<std::uint64_t>(max_bytes))
    throw LimitError(file, {},
                     found_expected(std::to_string(opened.size) + " bytes", "at most " + std::to_string(max_bytes)));
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(opened.size));
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const ::ssize_t count = ::read(opened.descriptor.get(), bytes.data() + filled, bytes.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw IoError(file, {}, std::string("cannot read: ") + std::strerror(errno));
    if (count == 0) break;  // shortened meanwhile: the decoder reports what is missing
    filled += static_cast<std::size_t>(count);
  }
  bytes.resize(filled);
  return bytes;
}

}  // namespace read_image_detail

/// The picture in the file at `path`; see `decode_image`. Throws IoError, at once, for a path that is missing,
/// unreadable or no regular file, LimitError for a file beyond `limits.max_file_bytes`, and what `decode_image` throws.
[[nodiscard]] inline Image read_image(const std::filesystem::path& path, const ImageLimits& limits = {}) {
  const std::string file = shown_path(path);
  const std::vector<std::uint8_t> bytes = read_image_detail::read_bytes(path, file, limits.max_file_bytes);
  return decode_image(bytes, file, limits);
}

/// The label map in the PNG file at `path`; see `decode_label_png`. Throws IoError, LimitError, FormatError.
[[nodiscard]] inline LabelMap read_label_map(const std::filesystem::path& path, const ImageLimits& limits = {}) {
  const std::string file = shown_path(path);
  const std::vector<std::uint8_t> bytes = read_image_detail::read_bytes(path, file, limits.max_file_bytes);
  return decode_label_png(bytes, file, limits);
}

}  // namespace lisa
