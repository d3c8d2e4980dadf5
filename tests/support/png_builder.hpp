#pragma once

#include <libdeflate.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace lisa::test {

using Bytes = std::vector<std::uint8_t>;

inline Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

inline void append(Bytes& out, const Bytes& more) { out.insert(out.end(), more.begin(), more.end()); }

inline Bytes big_endian(std::uint32_t value, int bytes) {
  Bytes out;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
  return out;
}

inline Bytes png_chunk(std::string_view type, const Bytes& content) {
  Bytes body = bytes_of(type);
  append(body, content);
  Bytes out = big_endian(static_cast<std::uint32_t>(content.size()), 4);
  append(out, body);
  append(out, big_endian(libdeflate_crc32(0, body.data(), body.size()), 4));
  return out;
}

inline Bytes deflated(const Bytes& content) {
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(9);
  Bytes out(libdeflate_zlib_compress_bound(compressor, content.size()));
  out.resize(libdeflate_zlib_compress(compressor, content.data(), content.size(), out.data(), out.size()));
  libdeflate_free_compressor(compressor);
  return out;
}

/// A PNG file whose chunks between IHDR and IEND are `middle`.
inline Bytes png_file(std::uint32_t width, std::uint32_t height, std::uint8_t depth, std::uint8_t color,
                      const Bytes& middle) {
  Bytes header = big_endian(width, 4);
  append(header, big_endian(height, 4));
  append(header, {depth, color, 0, 0, 0});
  Bytes out = bytes_of(std::string_view("\x89PNG\r\n\x1a\n", 8));
  append(out, png_chunk("IHDR", header));
  append(out, middle);
  append(out, png_chunk("IEND", {}));
  return out;
}

}  // namespace lisa::test
