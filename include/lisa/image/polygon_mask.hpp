#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"

namespace lisa {

/// Largest absolute coordinate that a polygon may have: five times as much fits 32 bits, as pycocotools assumes.
inline constexpr double max_polygon_coordinate = 1e8;

namespace polygon_detail {

/// Sub-pixels per pixel, in each direction, on which pycocotools traces an outline.
inline constexpr int sub_pixels = 5;
/// Sub-pixel column left of a pixel's centre line. The outline crosses the line between this one and the next.
inline constexpr std::int64_t left_of_centre = sub_pixels / 2;

struct SubPixel {
  std::int64_t x = 0;
  std::int64_t y = 0;
};

[[nodiscard]] inline SubPixel sub_pixel(double x, double y) {
  return {static_cast<std::int64_t>(static_cast<int>(sub_pixels * x + 0.5)),
          static_cast<std::int64_t>(static_cast<int>(sub_pixels * y + 0.5))};
}

/// The other coordinate of a line's sub-pixel `step` steps along its longer direction, rounded as pycocotools rounds it
/// (towards zero, after adding one half).
[[nodiscard]] inline std::int64_t minor_at(std::int64_t begin, double slope, std::int64_t step) {
  return static_cast<int>(static_cast<double>(begin) + slope * static_cast<double>(step) + 0.5);
}

/// Where a line crosses the centre lines of pixel columns 0 .. width - 1.
/// @param crossing  called as crossing(column, y) with the upper of the two sub-pixels on either side
template <class Crossing>
void column_crossings(SubPixel a, SubPixel b, std::int64_t width, const Crossing& crossing) {
  const std::int64_t dx = std::abs(b.x - a.x), dy = std::abs(b.y - a.y);
  if (dx == 0) return;
  const bool by_columns = dx >= dy;
  if (by_columns ? a.x > b.x : a.y > b.y) std::swap(a, b);
  const std::int64_t low = std::min(a.x, b.x), high = std::max(a.x, b.x);
  // Columns whose centre line lies between two neighbouring sub-pixels of the line.
  const std::int64_t first = std::max<std::int64_t>(0, (low - left_of_centre + sub_pixels - 1) / sub_pixels);
  const std::int64_t last =
      high - 1 < left_of_centre ? -1 : std::min(width - 1, (high - 1 - left_of_centre) / sub_pixels);
  const double slope = by_columns ? static_cast<double>(b.y - a.y) / static_cast<double>(dx)
                                  : static_cast<double>(b.x - a.x) / static_cast<double>(dy);
  for (std::int64_t column = first; column <= last; ++column) {
    const std::int64_t left = column * sub_pixels + left_of_centre;
    if (by_columns) {
      crossing(column, std::min(minor_at(a.y, slope, left - a.x), minor_at(a.y, slope, left + 1 - a.x)));
      continue;
    }
    // x moves by at most one sub-pixel a step, and never back: the first step on the far side.
    std::int64_t before = 0, beyond = dy;
    const bool rising = slope > 0;
    while (beyond - before > 1) {
      const std::int64_t middle = before + (beyond - before) / 2;
      const bool right = minor_at(a.x, slope, middle) > left;
      (right == rising ? beyond : before) = middle;
    }
    crossing(column, a.y + before);
  }
}

}  // namespace polygon_detail

/// The pixels inside a closed outline x0, y0, x1, y1 ... in pixels, as pycocotools' frPyObjects decides (cocoapi,
/// maskApi.c, rleFrPoly; bit-equal for coordinates within `max_polygon_coordinate`): the outline is traced on a grid of
/// fifths of a pixel, a pixel counts when its column's centre line has crossed the outline an odd number of times above
/// it. Parts outside the picture are cut off. Takes time by the pixels of the picture's width, not by the coordinates.
/// @throws InputError for an empty size, fewer than three points, an odd number of values, or one that is not finite or
/// beyond `max_polygon_coordinate`; `place` names the polygon
[[nodiscard]] inline BitMask polygon_mask(std::span<const double> outline, ImageSize size,
                                          const std::string& place = "polygon") {
  using namespace polygon_detail;
  if (outline.size() < 6 || outline.size() % 2 != 0)
    throw InputError(
        place, found_expected(std::to_string(outline.size()) + " coordinates", "an even number of them, at least 6"));
  for (const double value : outline)
    if (!(std::abs(value) <= max_polygon_coordinate))
      throw InputError(place, found_expected("coordinate " + std::to_string(value), "one between -1e8 and 1e8"));
  BitMask columns({size.width, size.height});  // one row per column of the mask
  const auto flip = [&](std::int64_t column, std::int64_t sub_y) {
    const double centre = (static_cast<double>(sub_y) + 0.5) / sub_pixels - 0.5;
    auto y = static_cast<std::int64_t>(std::ceil(std::clamp(centre, 0.0, static_cast<double>(size.height))));
    if (y >= size.height) {  // pycocotools counts this one as the first pixel of the next column
      y = 0;
      if (++column == size.width) return;
    }
    columns.row(static_cast<int>(column))[y / BitMask::word_bits] ^= BitMask::Word{1} << (y % BitMask::word_bits);
  };
  SubPixel before = sub_pixel(outline[outline.size() - 2], outline[outline.size() - 1]);
  for (std::size_t i = 0; i < outline.size(); i += 2) {
    const SubPixel point = sub_pixel(outline[i], outline[i + 1]);
    column_crossings(before, point, size.width, flip);
    before = point;
  }
  // The marks say where background and foreground change, from the top of the first column to the end of the last.
  bool inside = false;
  for (int x = 0; x < size.width; ++x) {
    BitMask::Word* words = columns.row(x);
    for (int left = size.height; left > 0; left -= BitMask::word_bits, ++words) {
      BitMask::Word bits = *words;
      for (int shift = 1; shift < BitMask::word_bits; shift *= 2) bits ^= bits << shift;
      if (inside) bits = ~bits;
      const int used = std::min(left, BitMask::word_bits);
      inside = (bits >> (used - 1) & 1) != 0;
      *words = used == BitMask::word_bits ? bits : bits & ((BitMask::Word{1} << used) - 1);
    }
  }
  return transpose(columns);
}

}  // namespace lisa
