#pragma once

#include <libdeflate.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"
#include "lisa/image/parallel_rows.hpp"

namespace lisa {

namespace png_detail {

inline constexpr int compression_level = 4;  // libdeflate's 1..12: beyond it, time grows faster than files shrink

inline void append_u32(std::vector<std::uint8_t>& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

inline void append_chunk(std::vector<std::uint8_t>& out, std::string_view type, std::span<const std::uint8_t> content) {
  append_u32(out, static_cast<std::uint32_t>(content.size()));
  const std::size_t begin = out.size();
  out.insert(out.end(), type.begin(), type.end());
  out.insert(out.end(), content.begin(), content.end());
  append_u32(out, libdeflate_crc32(0, out.data() + begin, out.size() - begin));
}

/// Predictions of the filters used here for byte i of an RGB row (PNG specification, section 9).
struct Left {
  static constexpr std::uint8_t number = 1;
  static int predict(const std::uint8_t* row, const std::uint8_t*, std::size_t i) { return i < 3 ? 0 : row[i - 3]; }
};
struct Up {
  static constexpr std::uint8_t number = 2;
  static int predict(const std::uint8_t*, const std::uint8_t* above, std::size_t i) { return above[i]; }
};
struct Paeth {
  static constexpr std::uint8_t number = 4;
  static int predict(const std::uint8_t* row, const std::uint8_t* above, std::size_t i) {
    if (i < 3) return above[i];
    const int left = row[i - 3], up = above[i], corner = above[i - 3];
    const int to_left = std::abs(up - corner), to_up = std::abs(left - corner);
    const int to_corner = std::abs(left + up - 2 * corner);
    if (to_left <= to_up && to_left <= to_corner) return left;
    return to_up <= to_corner ? up : corner;
  }
};

/// Cost of a filter: the sum of the filtered bytes, taken as signed (PNG specification, 12.8).
template <class Filter>
std::int64_t cost(const std::uint8_t* row, const std::uint8_t* above, std::size_t bytes) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < bytes; ++i)
    sum += std::abs(static_cast<std::int8_t>(row[i] - Filter::predict(row, above, i)));
  return sum;
}

/// The filter's number, then the filtered row.
template <class Filter>
void write_filtered(const std::uint8_t* row, const std::uint8_t* above, std::size_t bytes, std::uint8_t* out) {
  out[0] = Filter::number;
  for (std::size_t i = 0; i < bytes; ++i)
    out[i + 1] = static_cast<std::uint8_t>(row[i] - Filter::predict(row, above, i));
}

/// One RGB row under the filter of least cost.
inline void filter_row(const std::uint8_t* row, const std::uint8_t* above, std::size_t bytes, std::uint8_t* out) {
  const std::int64_t left = cost<Left>(row, above, bytes);
  const std::int64_t up = cost<Up>(row, above, bytes);
  const std::int64_t paeth = cost<Paeth>(row, above, bytes);
  if (up <= left && up <= paeth) return write_filtered<Up>(row, above, bytes, out);
  if (left <= paeth) return write_filtered<Left>(row, above, bytes, out);
  write_filtered<Paeth>(row, above, bytes, out);
}

/// A PNG file from filtered rows of 8-bit samples.
inline std::vector<std::uint8_t> assemble(ImageSize size, std::uint8_t color_type, std::span<const std::uint8_t> rows) {
  const std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> compressor(
      libdeflate_alloc_compressor(compression_level), libdeflate_free_compressor);
  if (!compressor) throw LimitError({}, "PNG", "found no memory for the compressor");
  std::vector<std::uint8_t> data(libdeflate_zlib_compress_bound(compressor.get(), rows.size()));
  data.resize(libdeflate_zlib_compress(compressor.get(), rows.data(), rows.size(), data.data(), data.size()));

  std::vector<std::uint8_t> header;
  append_u32(header, static_cast<std::uint32_t>(size.width));
  append_u32(header, static_cast<std::uint32_t>(size.height));
  for (const std::uint8_t value : {std::uint8_t{8}, color_type, std::uint8_t{0}, std::uint8_t{0}, std::uint8_t{0}})
    header.push_back(value);
  std::vector<std::uint8_t> file{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  append_chunk(file, "IHDR", header);
  constexpr std::size_t most = 1U << 30;  // a chunk's length has 31 bits
  for (std::size_t at = 0; at < data.size(); at += most)
    append_chunk(file, "IDAT", std::span(data).subspan(at, std::min(most, data.size() - at)));
  append_chunk(file, "IEND", {});
  return file;
}

}  // namespace png_detail

/// An RGB picture as a PNG file. Throws InputError for an invalid image.
[[nodiscard]] inline std::vector<std::uint8_t> encode_png(const Image& image) {
  require_valid(image);
  const std::size_t bytes = static_cast<std::size_t>(image.width) * 3;
  const std::vector<std::uint8_t> zeros(bytes);
  std::vector<std::uint8_t> rows((bytes + 1) * static_cast<std::size_t>(image.height));
  parallel_rows(image.height, 4 * static_cast<std::int64_t>(bytes) * image.height, [&](int begin, int end) {
    for (int y = begin; y < end; ++y)
      png_detail::filter_row(image.row(y), y == 0 ? zeros.data() : image.row(y - 1), bytes,
                             rows.data() + static_cast<std::size_t>(y) * (bytes + 1));
  });
  return png_detail::assemble(image.size(), 2, rows);
}

/// A grey picture of 8-bit levels [H, W] as a PNG file. Throws InputError when `levels` does not fit `size`.
[[nodiscard]] inline std::vector<std::uint8_t> encode_grey_png(std::span<const std::uint8_t> levels, ImageSize size) {
  const auto width = static_cast<std::size_t>(size.width);
  if (size.width < 1 || size.height < 1 || levels.size() != width * static_cast<std::size_t>(size.height))
    throw InputError("grey image", found_expected(std::to_string(levels.size()) + " levels",
                                                  "as many as " + std::to_string(size.width) + "x" +
                                                      std::to_string(size.height) + " pixels"));
  std::vector<std::uint8_t> rows((width + 1) * static_cast<std::size_t>(size.height));
  for (std::size_t y = 0; y < static_cast<std::size_t>(size.height); ++y)
    std::memcpy(rows.data() + y * (width + 1) + 1, levels.data() + y * width, width);
  return png_detail::assemble(size, 0, rows);
}

/// A mask as a grey PNG file: 255 foreground, 0 background. Throws InputError for a mask without pixels.
[[nodiscard]] inline std::vector<std::uint8_t> encode_png(const BitMask& mask) {
  return encode_grey_png(mask_bytes(mask, 255), mask.size());
}

}  // namespace lisa
