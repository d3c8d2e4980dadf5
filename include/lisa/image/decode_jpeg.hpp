#pragma once

// jpeglib.h uses FILE and size_t without declaring them.
#include <cstddef>
#include <cstdio>
//
#include <jerror.h>
#include <jpeglib.h>

#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/image/exif.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/image_limits.hpp"

namespace lisa {

namespace jpeg_detail {

/// What the segments before the first scan tell.
struct Layout {
  ImageSize size;
  int orientation = 1;
};

/// What a frame marker stands for when it is not one of the Huffman-coded DCT kinds that are read; null otherwise.
inline const char* unsupported_kind(int marker) {
  switch (marker) {
    case 0xC3:
    case 0xC7:
    case 0xCB:
    case 0xCF:
      return "lossless";
    case 0xC5:
    case 0xC6:
      return "hierarchical";
    case 0xC9:
    case 0xCA:
    case 0xCD:
    case 0xCE:
      return "arithmetic-coded";
    case 0xF7:
      return "JPEG-LS";
    default:
      return nullptr;
  }
}

/// Size and kind from a frame header; `segment` is its content after the length.
inline ImageSize frame_size(std::span<const std::uint8_t> segment, int marker, std::size_t file_bytes,
                            const std::string& file, const ImageLimits& limits) {
  const std::string place = "JPEG frame header";
  if (const char* kind = unsupported_kind(marker))
    throw FormatError(file, place, std::string("unsupported kind of JPEG: ") + kind);
  if (segment.size() < 6 || segment.size() < 6 + std::size_t{3} * segment[5])
    throw FormatError(file, place, "found a header cut short, expected one entry per component");
  if (segment[0] != 8)
    throw FormatError(file, place, "unsupported kind of JPEG: " + std::to_string(segment[0]) + "-bit, expected 8-bit");
  const std::int64_t height = segment[1] << 8 | segment[2];
  const std::int64_t width = segment[3] << 8 | segment[4];
  const ImageSize size = checked_size(file, place, width, height, limits);
  // Each 8x8 block of a component at full resolution costs at least one bit, the shortest Huffman code.
  const std::int64_t least = (width / 8) * (height / 8) / 8;
  if (least > static_cast<std::int64_t>(file_bytes))
    throw FormatError(file, place,
                      found_expected(std::to_string(file_bytes) + " bytes for " + std::to_string(width) + "x" +
                                         std::to_string(height) + " pixels",
                                     "at least " + std::to_string(least)));
  return size;
}

/// Walks the segments up to the first scan.
inline Layout read_layout(std::span<const std::uint8_t> bytes, const std::string& file, const ImageLimits& limits) {
  Layout layout;
  bool has_frame = false, has_exif = false;
  std::size_t at = 2;
  while (true) {
    while (at < bytes.size() && bytes[at] != 0xFF) ++at;  // libjpeg, too, skips what is no marker
    while (at < bytes.size() && bytes[at] == 0xFF) ++at;
    const std::string place = "JPEG byte " + std::to_string(at);
    if (at >= bytes.size()) throw FormatError(file, place, "found the end of the file, expected image data");
    const int marker = bytes[at++];
    if (marker == 0 || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;  // markers without content
    if (marker == 0xD9) throw FormatError(file, place, "found the end marker, expected image data");
    const std::size_t left = bytes.size() - at;
    const std::size_t length = left < 2 ? 0 : static_cast<std::size_t>(bytes[at] << 8 | bytes[at + 1]);
    if (length < 2 || length > left)
      throw FormatError(
          file, place,
          found_expected("a segment of " + std::to_string(length) + " bytes", "2.." + std::to_string(left)));
    const auto segment = bytes.subspan(at + 2, length - 2);
    const bool is_frame =
        (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) || marker == 0xF7;
    if (is_frame && !has_frame) {
      layout.size = frame_size(segment, marker, bytes.size(), file, limits);
      has_frame = true;
    } else if (marker == 0xE1 && !has_exif && segment.size() >= 6 && std::memcmp(segment.data(), "Exif\0", 6) == 0) {
      layout.orientation = exif_orientation(segment.subspan(6));
      has_exif = true;
    } else if (marker == 0xDA) {
      if (!has_frame) throw FormatError(file, place, "found image data, expected a frame header before it");
      return layout;
    }
    at += length;
  }
}

/// libjpeg's reader and what its callbacks need. It holds nothing with a destructor, and so do the functions between
/// setjmp and libjpeg: longjmp skips none.
struct Session {
  jpeg_decompress_struct reader;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf jump;
  std::array<char, JMSG_LENGTH_MAX> message;
  int max_scans;
  bool too_many_scans;
};

[[noreturn]] inline void on_error(j_common_ptr common) {
  auto* session = static_cast<Session*>(common->client_data);
  common->err->format_message(common, session->message.data());
  std::longjmp(session->jump, 1);
}

/// Warnings tell of data that libjpeg replaces by grey or guesses; only those about bytes it can leave out are
/// harmless.
inline void on_message(j_common_ptr common, int level) {
  if (level >= 0) return;
  switch (common->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
      return;
    default:
      on_error(common);
  }
}

inline void on_output(j_common_ptr) {}

inline void on_progress(j_common_ptr common) {
  auto* session = static_cast<Session*>(common->client_data);
  if (session->reader.input_scan_number <= session->max_scans) return;
  session->too_many_scans = true;
  std::longjmp(session->jump, 1);
}

/// OpenCV's conversion of the inverted CMYK that Adobe programs write (grfmt_jpeg.cpp, utils.cpp).
inline void cmyk_to_rgb(const std::uint8_t* cmyk, int width, std::uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3)
    for (int c = 0; c < 3; ++c) {
      const int black = cmyk[3];
      rgb[c] = static_cast<std::uint8_t>(black - ((255 - cmyk[c]) * black >> 8));
    }
}

/// Header and settings: libjpeg's defaults (accurate integer inverse DCT, smooth chroma), as OpenCV leaves them.
inline bool start(Session& s, const std::uint8_t* data, std::size_t size, std::int64_t max_memory) noexcept {
  if (setjmp(s.jump) != 0) return false;
  jpeg_create_decompress(&s.reader);
  s.reader.client_data = &s;
  s.reader.progress = &s.progress;
  s.reader.mem->max_memory_to_use = static_cast<long>(max_memory);
  jpeg_mem_src(&s.reader, data, static_cast<unsigned long>(size));
  jpeg_read_header(&s.reader, TRUE);
  s.reader.out_color_space = s.reader.num_components == 4 ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&s.reader);
  return true;
}

inline bool read_rows(Session& s, std::uint8_t* out, int width, int height) noexcept {
  if (setjmp(s.jump) != 0) return false;
  if (s.reader.output_width != static_cast<JDIMENSION>(width) ||
      s.reader.output_height != static_cast<JDIMENSION>(height))
    ERREXIT(&s.reader, JERR_SOF_DUPLICATE);
  JSAMPARRAY cmyk = nullptr;
  if (s.reader.out_color_space == JCS_CMYK)
    cmyk = (*s.reader.mem->alloc_sarray)(reinterpret_cast<j_common_ptr>(&s.reader), JPOOL_IMAGE,
                                         static_cast<JDIMENSION>(width) * 4, 1);
  while (s.reader.output_scanline < s.reader.output_height) {
    JSAMPROW row = out + static_cast<std::size_t>(s.reader.output_scanline) * static_cast<std::size_t>(width) * 3;
    if (cmyk == nullptr) {
      jpeg_read_scanlines(&s.reader, &row, 1);
    } else {
      jpeg_read_scanlines(&s.reader, cmyk, 1);
      cmyk_to_rgb(cmyk[0], width, row);
    }
  }
  jpeg_finish_decompress(&s.reader);
  return true;
}

}  // namespace jpeg_detail

/// The picture of a JPEG file, as cv2.imread(IMREAD_COLOR) gives it but in RGB order: EXIF orientation applied, CMYK
/// and YCCK taken as inverted. Baseline, extended and progressive Huffman-coded files of 8 bits; other kinds are named.
/// `file` names the file in errors. Throws FormatError for damaged content (truncation included, where libjpeg would
/// fill up with grey) and LimitError.
[[nodiscard]] inline Image decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& file,
                                       const ImageLimits& limits = {}) {
  using namespace jpeg_detail;
  if (bytes.size() < 2 || bytes[0] != 0xFF || bytes[1] != 0xD8)
    throw FormatError(file, "JPEG byte 0", "found another signature, expected that of JPEG");
  const Layout layout = read_layout(bytes, file, limits);

  Session session{};
  struct Release {
    Session& s;
    ~Release() { jpeg_destroy_decompress(&s.reader); }
  } release{session};
  session.max_scans = limits.max_jpeg_scans;
  session.progress.progress_monitor = on_progress;
  session.reader.err = jpeg_std_error(&session.errors);
  session.reader.client_data = &session;
  session.errors.error_exit = on_error;
  session.errors.emit_message = on_message;
  session.errors.output_message = on_output;

  const auto fail = [&] {
    if (session.too_many_scans)
      throw LimitError(file, "JPEG scan " + std::to_string(session.reader.input_scan_number),
                       found_expected("more scans", "at most " + std::to_string(session.max_scans)));
    const std::string text = printable(session.message.data(), JMSG_LENGTH_MAX);
    const int code = session.errors.msg_code;
    if (code == JERR_OUT_OF_MEMORY || code == JERR_NO_BACKING_STORE)
      throw LimitError(file, "JPEG",
                       "found a picture that needs too much memory to decode, expected at most " +
                           std::to_string(limits.max_decoder_bytes) + " bytes");
    const std::size_t left = session.reader.src != nullptr ? session.reader.src->bytes_in_buffer : bytes.size();
    throw FormatError(file, "JPEG byte " + std::to_string(left <= bytes.size() ? bytes.size() - left : bytes.size()),
                      "found damaged data (" + text + "), expected a valid JPEG");
  };
  if (!start(session, bytes.data(), bytes.size(), limits.max_decoder_bytes)) fail();
  Image image = make_image(layout.size);
  if (!read_rows(session, image.pixels.data(), image.width, image.height)) fail();
  return upright(std::move(image), layout.orientation);
}

}  // namespace lisa
