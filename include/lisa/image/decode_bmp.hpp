#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/image_limits.hpp"

namespace lisa {

namespace bmp_detail {

struct Layout {
  ImageSize size;
  bool top_down = false;
  int bits = 0;                 // per pixel: 1, 4, 8, 16, 24 or 32
  bool green_six_bits = false;  // 16 bits as 5-6-5 instead of 5-5-5
  std::size_t palette_at = 0;
  std::size_t palette_entries = 0;
  std::size_t palette_entry_bytes = 4;
  std::size_t pixels_at = 0;
  std::size_t row_bytes = 0;  // padded to four
};

inline std::uint32_t u16(std::span<const std::uint8_t> b, std::size_t at) { return b[at] | b[at + 1] << 8; }
inline std::uint32_t u32(std::span<const std::uint8_t> b, std::size_t at) { return u16(b, at) | u16(b, at + 2) << 16; }
inline std::int64_t i32(std::span<const std::uint8_t> b, std::size_t at) {
  return static_cast<std::int32_t>(u32(b, at));
}

/// Compression 3: the channel masks must be one of the usual layouts.
inline void read_masks(std::span<const std::uint8_t> bytes, const std::string& file, Layout& layout) {
  if (bytes.size() < 66) throw FormatError(file, "BMP header", "found the end of the file, expected channel masks");
  const std::array<std::uint32_t, 3> masks{u32(bytes, 54), u32(bytes, 58), u32(bytes, 62)};
  if (layout.bits == 16 && masks == std::array<std::uint32_t, 3>{0xF800, 0x07E0, 0x001F}) {
    layout.green_six_bits = true;
  } else if (!(layout.bits == 16 && masks == std::array<std::uint32_t, 3>{0x7C00, 0x03E0, 0x001F}) &&
             !(layout.bits == 32 && masks == std::array<std::uint32_t, 3>{0xFF0000, 0xFF00, 0xFF})) {
    throw FormatError(file, "BMP header", "unsupported kind of BMP: unusual channel masks");
  }
}

inline Layout read_layout(std::span<const std::uint8_t> bytes, const std::string& file, const ImageLimits& limits) {
  const std::string place = "BMP header";
  const auto need = [&](std::size_t count) {
    if (bytes.size() < count)
      throw FormatError(file, place,
                        found_expected(std::to_string(bytes.size()) + " bytes", "at least " + std::to_string(count)));
  };
  need(26);
  const std::uint64_t header = u32(bytes, 14);
  const bool core = header == 12;
  if (!core && header != 40 && header != 52 && header != 56 && header != 108 && header != 124)
    throw FormatError(file, place, "unsupported kind of BMP: header of " + std::to_string(header) + " bytes");
  need(14 + static_cast<std::size_t>(header));

  Layout layout;
  const std::int64_t width = core ? u16(bytes, 18) : i32(bytes, 18);
  const std::int64_t height = core ? u16(bytes, 20) : i32(bytes, 22);
  layout.top_down = height < 0;
  layout.size = checked_size(file, place, width, layout.top_down ? -height : height, limits);
  layout.bits = static_cast<int>(core ? u16(bytes, 24) : u16(bytes, 28));
  constexpr std::array known_bits{1, 4, 8, 16, 24, 32};
  bool known = false;
  for (const int bits : known_bits) known = known || bits == layout.bits;
  if (!known)
    throw FormatError(file, place,
                      found_expected(std::to_string(layout.bits) + " bits per pixel", "1, 4, 8, 16, 24 or 32"));
  const std::uint32_t compression = core ? 0 : u32(bytes, 30);
  if (compression == 1 || compression == 2)
    throw FormatError(file, place, "unsupported kind of BMP: run-length compression");
  if (compression != 0 && compression != 3)
    throw FormatError(file, place, "unsupported kind of BMP: compression " + std::to_string(compression));
  if (compression == 3) read_masks(bytes, file, layout);

  layout.palette_at = 14 + static_cast<std::size_t>(header);
  layout.palette_entry_bytes = core ? 3 : 4;
  if (layout.bits <= 8) {
    const std::size_t most = std::size_t{1} << layout.bits;
    const std::size_t used = core ? 0 : u32(bytes, 46);
    layout.palette_entries = used == 0 ? most : used;
    if (layout.palette_entries > most)
      throw FormatError(
          file, place,
          found_expected("a palette of " + std::to_string(used) + " colours", "at most " + std::to_string(most)));
    need(layout.palette_at + layout.palette_entries * layout.palette_entry_bytes);
  }
  layout.pixels_at = u32(bytes, 10);
  layout.row_bytes =
      (static_cast<std::size_t>(layout.size.width) * static_cast<std::size_t>(layout.bits) + 31) / 32 * 4;
  const std::uint64_t end =
      layout.pixels_at + std::uint64_t{layout.row_bytes} * static_cast<std::uint64_t>(layout.size.height);
  if (layout.pixels_at < layout.palette_at || end > bytes.size())
    throw FormatError(file, "BMP byte " + std::to_string(layout.pixels_at),
                      found_expected("a file of " + std::to_string(bytes.size()) + " bytes",
                                     "pixels up to byte " + std::to_string(end)));
  return layout;
}

inline void read_row(std::span<const std::uint8_t> bytes, const Layout& layout, const std::uint8_t* source,
                     std::uint8_t* out) {
  for (int x = 0; x < layout.size.width; ++x, out += 3) {
    if (layout.bits >= 24) {
      const std::uint8_t* pixel = source + static_cast<std::size_t>(x) * static_cast<std::size_t>(layout.bits / 8);
      out[0] = pixel[2];
      out[1] = pixel[1];
      out[2] = pixel[0];
    } else if (layout.bits == 16) {
      const std::uint32_t value = source[2 * x] | static_cast<std::uint32_t>(source[2 * x + 1]) << 8;
      // The low bits stay zero, as in OpenCV (utils.cpp, icvCvt_BGR5652BGR).
      out[0] = static_cast<std::uint8_t>(layout.green_six_bits ? value >> 8 & 0xF8 : value >> 7 & 0xF8);
      out[1] = static_cast<std::uint8_t>(layout.green_six_bits ? value >> 3 & 0xFC : value >> 2 & 0xF8);
      out[2] = static_cast<std::uint8_t>(value << 3 & 0xF8);
    } else {
      const auto bits = static_cast<std::size_t>(layout.bits);
      const std::size_t at = static_cast<std::size_t>(x) * bits;
      const std::size_t index = source[at / 8] >> (8 - bits - at % 8) & ((std::size_t{1} << bits) - 1);
      if (index >= layout.palette_entries) continue;  // no such colour: black, as the buffer is
      const std::size_t entry = layout.palette_at + index * layout.palette_entry_bytes;
      out[0] = bytes[entry + 2];
      out[1] = bytes[entry + 1];
      out[2] = bytes[entry];
    }
  }
}

}  // namespace bmp_detail

/// The picture of an uncompressed BMP file (1, 4, 8, 16, 24 or 32 bits, either row order), as cv2.imread(IMREAD_COLOR)
/// gives it but in RGB order. Other kinds are refused by name. `file` names the file in errors. Throws FormatError for
/// damaged or truncated content and LimitError.
[[nodiscard]] inline Image decode_bmp(std::span<const std::uint8_t> bytes, const std::string& file,
                                      const ImageLimits& limits = {}) {
  const bmp_detail::Layout layout = bmp_detail::read_layout(bytes, file, limits);
  Image image = make_image(layout.size);
  for (int y = 0; y < image.height; ++y) {
    const int stored = layout.top_down ? y : image.height - 1 - y;
    const std::uint8_t* source = bytes.data() + layout.pixels_at + static_cast<std::size_t>(stored) * layout.row_bytes;
    bmp_detail::read_row(bytes, layout, source, image.row(y));
  }
  return image;
}

}  // namespace lisa
