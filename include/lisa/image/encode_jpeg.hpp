#pragma once

// jpeglib.h uses FILE and size_t without declaring them.
#include <cstddef>
#include <cstdio>
//
#include <jpeglib.h>

#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/image/image.hpp"

namespace lisa {

namespace encode_jpeg_detail {

/// What libjpeg works on. It reports errors by a function that must not return, so they leave by longjmp, past nothing
/// that has a destructor.
struct Session {
  jpeg_compress_struct writer;
  jpeg_error_mgr errors;
  std::jmp_buf jump;
  std::array<char, JMSG_LENGTH_MAX> message;
  unsigned char* bytes;  ///< malloc'ed by libjpeg
  unsigned long count;
};

inline void on_error(j_common_ptr common) {
  auto& session = *static_cast<Session*>(common->client_data);
  session.errors.format_message(common, session.message.data());
  std::longjmp(session.jump, 1);
}

inline bool compress(Session& session, const Image& image, int quality) {
  if (setjmp(session.jump) != 0) return false;
  jpeg_compress_struct& writer = session.writer;
  jpeg_create_compress(&writer);
  jpeg_mem_dest(&writer, &session.bytes, &session.count);
  writer.image_width = static_cast<JDIMENSION>(image.width);
  writer.image_height = static_cast<JDIMENSION>(image.height);
  writer.input_components = 3;
  writer.in_color_space = JCS_RGB;
  jpeg_set_defaults(&writer);
  jpeg_set_quality(&writer, quality, TRUE);
  // Colors at full resolution: the edges of small objects stay where they are.
  writer.comp_info[0].h_samp_factor = writer.comp_info[0].v_samp_factor = 1;
  jpeg_start_compress(&writer, TRUE);
  while (writer.next_scanline < writer.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.row(static_cast<int>(writer.next_scanline)));
    jpeg_write_scanlines(&writer, &row, 1);
  }
  jpeg_finish_compress(&writer);
  return true;
}

}  // namespace encode_jpeg_detail

/// An RGB picture as a baseline JPEG file without color subsampling.
/// @param quality  libjpeg's, from 1 to 100
/// @throws InputError for an invalid image or quality, or a side beyond JPEG's 65500 pixels
[[nodiscard]] inline std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality = 95) {
  using namespace encode_jpeg_detail;
  require_valid(image);
  if (quality < 1 || quality > 100)
    throw InputError("JPEG", found_expected("quality " + std::to_string(quality), "1 to 100"));
  Session session{};
  struct Release {
    Session& s;
    ~Release() {
      jpeg_destroy_compress(&s.writer);
      std::free(s.bytes);
    }
  } release{session};
  session.writer.err = jpeg_std_error(&session.errors);
  session.writer.client_data = &session;
  session.errors.error_exit = on_error;
  if (!compress(session, image, quality))
    throw InputError("JPEG", "cannot be written (" + printable(session.message.data(), JMSG_LENGTH_MAX) + ")");
  return {session.bytes, session.bytes + session.count};
}

}  // namespace lisa
