#pragma once

#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/image/exif.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/image_limits.hpp"

namespace lisa {

namespace png_detail {

/// What the chunk list tells before anything is inflated.
struct Layout {
  ImageSize size;
  int bit_depth = 0;   // of a sample
  int color_type = 0;  // of PNG: 0 grey, 2 colours, 3 palette ...
  std::uint64_t bits_per_pixel = 0;
  std::uint64_t data_bytes = 0;        // of all IDAT chunks
  std::span<const std::uint8_t> exif;  // content of an eXIf chunk, if any
};

inline std::uint32_t big_endian(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

/// Walks the chunks: their lengths, order and end. libpng checks their checksums.
inline Layout read_layout(std::span<const std::uint8_t> bytes, const std::string& file, const ImageLimits& limits) {
  Layout layout;
  bool ended = false;
  std::size_t at = 8;
  while (bytes.size() - at >= 12) {
    const std::uint64_t length = big_endian(bytes.data() + at);
    const std::string_view type(reinterpret_cast<const char*>(bytes.data()) + at + 4, 4);
    const std::string place = "PNG byte " + std::to_string(at);
    if (ended) {
      if (type == "IDAT") throw FormatError(file, place, "found image data after IEND, expected it before");
      break;  // other bytes after the end are left alone, as every reader does
    }
    if (length > bytes.size() - at - 12)
      throw FormatError(file, place,
                        found_expected("chunk " + quoted(type) + " of " + std::to_string(length) + " bytes",
                                       "at most the " + std::to_string(bytes.size() - at - 12) + " left in the file"));
    const std::uint8_t* content = bytes.data() + at + 8;
    if (at == 8) {
      if (type != "IHDR" || length != 13)
        throw FormatError(
            file, place,
            found_expected("chunk " + quoted(type) + " of " + std::to_string(length) + " bytes", "IHDR of 13 bytes"));
      layout.size = checked_size(file, "PNG IHDR", big_endian(content), big_endian(content + 4), limits);
      constexpr std::array<std::uint64_t, 7> channels{1, 0, 3, 1, 2, 0, 4};
      layout.bit_depth = content[8];
      layout.color_type = content[9];
      layout.bits_per_pixel = content[9] < 7 ? channels[content[9]] * content[8] : 0;
    } else if (type == "IDAT") {
      layout.data_bytes += length;
    } else if (type == "eXIf") {
      layout.exif = {content, static_cast<std::size_t>(length)};
    } else if (type == "IEND") {
      ended = true;
    }
    at += static_cast<std::size_t>(length) + 12;
  }
  if (!ended) throw FormatError(file, "PNG byte " + std::to_string(at), "found the end of the file, expected IEND");
  // Deflate expands at most 1032 to 1, so a short file cannot fill a large picture, whatever its header promises.
  const std::uint64_t needed = static_cast<std::uint64_t>(layout.size.width) *
                               static_cast<std::uint64_t>(layout.size.height) * layout.bits_per_pixel / 8;
  if (needed / 1032 > layout.data_bytes)
    throw FormatError(file, "PNG IDAT",
                      found_expected(std::to_string(layout.data_bytes) + " bytes of image data",
                                     "at least " + std::to_string(needed / 1032) + " for the size in IHDR"));
  return layout;
}

/// libpng's reader and what its callbacks need. It holds nothing with a destructor, and so do the functions between
/// setjmp and libpng: longjmp skips none.
struct Session {
  png_structp png = nullptr;
  png_infop info = nullptr;
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  std::size_t at = 0;
  int passes = 0;
  std::array<char, 160> message{};
};

inline void on_error(png_structp png, png_const_charp text) {
  auto* session = static_cast<Session*>(png_get_error_ptr(png));
  std::snprintf(session->message.data(), session->message.size(), "%s", text);
  png_longjmp(png, 1);
}

inline void on_warning(png_structp, png_const_charp) {}

inline void on_read(png_structp png, png_bytep out, std::size_t count) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  if (count > session->size - session->at) png_error(png, "the file ends too early");
  std::memcpy(out, session->data + session->at, count);
  session->at += count;
}

/// What a decoded pixel is.
enum class Pixels : std::uint8_t { rgb, label };

/// The conversion to 8-bit RGB that cv2.imread applies: high byte of 16-bit samples, alpha and transparency dropped
/// without blending, grey and palettes expanded.
inline void convert_to_rgb(Session& s) {
  const int color = png_get_color_type(s.png, s.info);
  if (png_get_bit_depth(s.png, s.info) == 16) png_set_strip_16(s.png);
  if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(s.png);
  if (color == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(s.png);
  if ((color & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(s.png);
  png_set_strip_alpha(s.png);
}

/// Header and conversion of the pixels. False after an error.
inline bool read_header(Session& s, Pixels pixels) noexcept {
  if (setjmp(png_jmpbuf(s.png)) != 0) return false;
  png_set_read_fn(s.png, &s, on_read);
  png_set_user_limits(s.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // the size has been checked
  // Text, colour profiles and the like are skipped, never inflated: a bomb in them does nothing.
  png_set_keep_unknown_chunks(s.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_read_info(s.png, s.info);
  if (pixels == Pixels::rgb)
    convert_to_rgb(s);
  else
    png_set_packing(s.png);  // one byte per pixel, whatever the depth
  s.passes = png_set_interlace_handling(s.png);
  png_read_update_info(s.png, s.info);
  return true;
}

inline bool read_rows(Session& s, std::uint8_t* out, std::size_t row_bytes, int rows) noexcept {
  if (setjmp(png_jmpbuf(s.png)) != 0) return false;
  if (png_get_rowbytes(s.png, s.info) != row_bytes) png_error(s.png, "its rows have another length after conversion");
  for (int pass = 0; pass < s.passes; ++pass)
    for (int y = 0; y < rows; ++y) png_read_row(s.png, out + static_cast<std::size_t>(y) * row_bytes, nullptr);
  png_read_end(s.png, nullptr);
  return true;
}

/// Pixels of a whole file, and what its chunks told.
struct Decoded {
  Layout layout;
  std::vector<std::uint8_t> pixels;  // [H, W, 3] or [H, W]
};

/// Labels are grey levels or entries of a palette, of at most 8 bits.
inline void require_labels(const Layout& layout, const std::string& file) {
  const bool single = layout.color_type == PNG_COLOR_TYPE_GRAY || layout.color_type == PNG_COLOR_TYPE_PALETTE;
  if (single && layout.bit_depth <= 8) return;
  throw FormatError(file, "PNG IHDR",
                    found_expected(single ? "16 bits per pixel" : "a picture in colours or with transparency",
                                   "labels: grey levels or a palette, of at most 8 bits"));
}

inline Decoded decode(std::span<const std::uint8_t> bytes, const std::string& file, const ImageLimits& limits,
                      Pixels pixels) {
  if (bytes.size() < 8 || png_sig_cmp(bytes.data(), 0, 8) != 0)
    throw FormatError(file, "PNG byte 0", "found another signature, expected that of PNG");
  Decoded decoded{read_layout(bytes, file, limits), {}};
  if (pixels == Pixels::label) require_labels(decoded.layout, file);

  Session session;
  session.data = bytes.data();
  session.size = bytes.size();
  struct Release {
    Session& s;
    ~Release() { png_destroy_read_struct(&s.png, &s.info, nullptr); }
  } release{session};
  session.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &session, on_error, on_warning);
  if (session.png != nullptr) session.info = png_create_info_struct(session.png);
  if (session.info == nullptr) throw LimitError(file, "PNG", "found no memory for the decoder");

  const auto fail = [&] {
    throw FormatError(file, "PNG byte " + std::to_string(session.at),
                      "found damaged data (" + printable(session.message.data()) + "), expected a valid PNG");
  };
  if (!read_header(session, pixels)) fail();
  const auto [height, width] = decoded.layout.size;
  const std::size_t row_bytes = static_cast<std::size_t>(width) * (pixels == Pixels::rgb ? 3 : 1);
  decoded.pixels.resize(row_bytes * static_cast<std::size_t>(height));
  if (!read_rows(session, decoded.pixels.data(), row_bytes, height)) fail();
  return decoded;
}

}  // namespace png_detail

/// The picture of a PNG file, as cv2.imread(IMREAD_COLOR) gives it but in RGB order: any bit depth and colour type, the
/// default image of an APNG. `file` names the file in errors. Throws FormatError for damaged content (checksum errors
/// and truncation included) and LimitError.
[[nodiscard]] inline Image decode_png(std::span<const std::uint8_t> bytes, const std::string& file,
                                      const ImageLimits& limits = {}) {
  png_detail::Decoded decoded = png_detail::decode(bytes, file, limits, png_detail::Pixels::rgb);
  const ImageSize size = decoded.layout.size;
  return upright(Image{size.width, size.height, std::move(decoded.pixels)}, exif_orientation(decoded.layout.exif));
}

/// A number per pixel.
struct LabelMap {
  ImageSize size;
  std::vector<std::uint8_t> labels;  ///< [H, W], rows from the top
  bool operator==(const LabelMap&) const = default;
};

/// The label map in a PNG file: entries of its palette or grey levels of up to 8 bits, as numbers, in the order of the
/// file (no EXIF orientation), as PIL.Image.open gives them for 8 bits and for palettes. Throws FormatError for colours
/// and 16 bits, and what `decode_png` throws.
[[nodiscard]] inline LabelMap decode_label_png(std::span<const std::uint8_t> bytes, const std::string& file,
                                               const ImageLimits& limits = {}) {
  png_detail::Decoded decoded = png_detail::decode(bytes, file, limits, png_detail::Pixels::label);
  return {decoded.layout.size, std::move(decoded.pixels)};
}

}  // namespace lisa
