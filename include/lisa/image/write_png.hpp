#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "lisa/files/atomic_write.hpp"
#include "lisa/image/encode_png.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"

namespace lisa {

namespace write_png_detail {

inline void write_bytes(const std::filesystem::path& path, const std::vector<std::uint8_t>& bytes) {
  write_file(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace write_png_detail

/// Writes an RGB picture as a PNG file; a file of that name is replaced only once the new one is complete. Throws
/// InputError for an invalid image and IoError when the system refuses, then the old file is unchanged.
inline void write_png(const std::filesystem::path& path, const Image& image) {
  write_png_detail::write_bytes(path, encode_png(image));
}

/// Writes a mask as a grey PNG file, 255 foreground and 0 background. Errors as for a picture.
inline void write_png(const std::filesystem::path& path, const BitMask& mask) {
  write_png_detail::write_bytes(path, encode_png(mask));
}

}  // namespace lisa
