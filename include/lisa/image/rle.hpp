#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/image_limits.hpp"
#include "lisa/image/mask.hpp"

namespace lisa {

/// Run lengths of a mask as COCO stores them: columns from the left, each from the top, starting with a run of
/// background (which may be 0 long). They add up to height * width.
struct CocoRle {
  ImageSize size;
  std::vector<std::uint32_t> counts;
  bool operator==(const CocoRle&) const = default;
};

/// Where run lengths come from, for error messages.
struct RleSource {
  std::string file;
  std::string place = "RLE";
};

/// Run lengths of `mask`. Throws InputError for a mask without pixels.
[[nodiscard]] inline CocoRle encode_rle(const BitMask& mask) {
  if (mask.words().empty()) throw InputError("mask", "found no pixels, expected at least one");
  const BitMask columns = transpose(mask);
  CocoRle rle{mask.size(), {}};
  BitMask::Word foreground = 0;  // all ones inside a foreground run: turns its end into the next set bit
  std::uint32_t run = 0;
  for (int x = 0; x < mask.width(); ++x) {
    const BitMask::Word* words = columns.row(x);
    for (int left = mask.height(); left > 0; left -= BitMask::word_bits, ++words) {
      const int bits = std::min(BitMask::word_bits, left);
      for (int at = 0; at < bits;) {
        const int same = std::min(std::countr_zero((*words ^ foreground) >> at), bits - at);
        run += static_cast<std::uint32_t>(same);
        at += same;
        if (at == bits) break;
        rle.counts.push_back(run);
        run = 0;
        foreground = ~foreground;
      }
    }
  }
  rle.counts.push_back(run);
  return rle;
}

/// Checks counts from an annotation and narrows them. Throws FormatError for an empty size, a negative count or a sum
/// other than height * width, and LimitError for a picture of more than `limits.max_pixels`.
[[nodiscard]] inline CocoRle checked_rle(std::span<const std::int64_t> counts, std::int64_t height, std::int64_t width,
                                         const RleSource& source = {}, const ImageLimits& limits = {}) {
  CocoRle rle{checked_size(source.file, source.place, width, height, limits), {}};
  const std::int64_t pixels = height * width;
  if (pixels > std::numeric_limits<std::uint32_t>::max())
    throw LimitError(source.file, source.place, found_expected(std::to_string(pixels) + " pixels", "less than 2^32"));
  std::int64_t sum = 0;
  rle.counts.reserve(counts.size());
  for (const std::int64_t count : counts) {
    if (count < 0 || count > pixels - sum)
      throw FormatError(source.file, source.place,
                        found_expected("a run of " + std::to_string(count) + " pixels after " + std::to_string(sum),
                                       "0.." + std::to_string(pixels - sum)));
    sum += count;
    rle.counts.push_back(static_cast<std::uint32_t>(count));
  }
  if (sum != pixels)
    throw FormatError(source.file, source.place,
                      found_expected("runs of " + std::to_string(sum) + " pixels in all", std::to_string(pixels)));
  return rle;
}

/// The mask that `rle` describes. Throws FormatError when the runs do not add up to its size, LimitError as
/// `checked_rle`.
[[nodiscard]] inline BitMask decode_rle(const CocoRle& rle, const RleSource& source = {},
                                        const ImageLimits& limits = {}) {
  const std::vector<std::int64_t> wide(rle.counts.begin(), rle.counts.end());
  static_cast<void>(checked_rle(wide, rle.size.height, rle.size.width, source, limits));
  BitMask columns({rle.size.width, rle.size.height});  // one row per column of the mask
  const auto height = static_cast<std::uint64_t>(rle.size.height);
  std::uint64_t at = 0;
  bool foreground = false;
  for (const std::uint32_t count : rle.counts) {
    const std::uint64_t end = at + count;
    while (foreground && at < end) {
      const std::uint64_t y = at % height;
      const std::uint64_t bit = y % BitMask::word_bits;
      const std::uint64_t length = std::min({end - at, height - y, BitMask::word_bits - bit});
      const BitMask::Word ones = length == BitMask::word_bits ? ~BitMask::Word{0} : (BitMask::Word{1} << length) - 1;
      columns.row(static_cast<int>(at / height))[y / BitMask::word_bits] |= ones << bit;
      at += length;
    }
    at = end;
    foreground = !foreground;
  }
  return transpose(columns);
}

/// COCO's compressed string of the counts (pycocotools, maskApi.c, rleToString): from the fourth on, the difference to
/// the count two before; 5 bits per character, lowest first, in characters '0' .. 'o', bit 5 set while more follow.
[[nodiscard]] inline std::string compressed_counts(const CocoRle& rle) {
  std::string text;
  for (std::size_t i = 0; i < rle.counts.size(); ++i) {
    std::int64_t value = rle.counts[i];
    if (i > 2) value -= rle.counts[i - 2];
    bool more = true;
    while (more) {
      const std::int64_t bits = value & 0x1F;
      value >>= 5;
      more = (bits & 0x10) != 0 ? value != -1 : value != 0;
      text += static_cast<char>(48 + (more ? bits | 0x20 : bits));
    }
  }
  return text;
}

/// Run lengths from COCO's compressed string. Throws FormatError for a character outside '0' .. 'o', a number that does
/// not end or is too long, and what `checked_rle` refuses.
[[nodiscard]] inline CocoRle parse_compressed_counts(std::string_view text, std::int64_t height, std::int64_t width,
                                                     const RleSource& source = {}, const ImageLimits& limits = {}) {
  constexpr int most_characters = 7;  // 35 bits, enough for any difference of 32-bit counts
  const auto fail = [&](std::size_t at, const std::string& found, const std::string& expected) {
    throw FormatError(source.file, source.place + " character " + std::to_string(at), found_expected(found, expected));
  };
  std::vector<std::int64_t> counts;
  std::size_t at = 0;
  while (at < text.size()) {
    std::int64_t value = 0;
    bool more = true;
    for (int k = 0; more; ++k, ++at) {
      if (at == text.size()) fail(at, "the end of the counts", "the rest of a number");
      if (k == most_characters) fail(at, "a number of more than 7 characters", "a shorter one");
      const int bits = static_cast<unsigned char>(text[at]) - 48;
      if (bits < 0 || bits > 63) fail(at, "a character outside '0'..'o'", "one inside");
      value |= static_cast<std::int64_t>(bits & 0x1F) << (5 * k);
      more = (bits & 0x20) != 0;
      if (!more && (bits & 0x10) != 0) value -= std::int64_t{1} << (5 * (k + 1));
    }
    if (counts.size() > 2) value += counts[counts.size() - 2];
    if (value < 0 || value > std::numeric_limits<std::uint32_t>::max())
      fail(at, "a run of " + std::to_string(value) + " pixels", "one that is not negative and fits the picture");
    counts.push_back(value);
  }
  return checked_rle(counts, height, width, source, limits);
}

}  // namespace lisa
