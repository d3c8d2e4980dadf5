#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"

namespace lisa {

/// A pixel by its column and row; may lie outside a picture.
struct PixelPoint {
  int x = 0;
  int y = 0;
  bool operator==(const PixelPoint&) const = default;
};

/// Largest absolute coordinate that a corner of an outline may have.
inline constexpr int max_outline_coordinate = 1'000'000;

namespace outline_detail {

struct Point {
  std::int64_t x = 0;
  std::int64_t y = 0;
};

struct LineSegment {
  Point a;
  Point b;
  bool inside = false;  // a part of it lies in the picture
};

/// Bits that tell on which sides of a picture a point lies outside of it.
[[nodiscard]] inline int sides_beyond(Point p, ImageSize size) {
  return (p.x < 0 ? 1 : 0) | (p.x >= size.width ? 2 : 0) | (p.y < 0 ? 4 : 0) | (p.y >= size.height ? 8 : 0);
}

/// The end of `segment` moved along it onto the border that it lies beyond, first up or down, then sideways, as
/// OpenCV's clipLine moves it: quotients are cut towards zero, and each end sees the other as it has become.
[[nodiscard]] inline LineSegment clipped(LineSegment segment, ImageSize size) {
  auto& [a, b, inside] = segment;
  const auto vertically = [&](Point& moved, int sides) {
    const std::int64_t border = (sides & 8) != 0 ? size.height - 1 : 0;
    moved.x += (border - moved.y) * (b.x - a.x) / (b.y - a.y);
    moved.y = border;
    return sides_beyond(moved, size) & 3;
  };
  const auto sideways = [&](Point& moved, int sides) {
    const std::int64_t border = (sides & 2) != 0 ? size.width - 1 : 0;
    moved.y += (border - moved.x) * (b.y - a.y) / (b.x - a.x);
    moved.x = border;
    return 0;
  };
  int sides_a = sides_beyond(a, size), sides_b = sides_beyond(b, size);
  if ((sides_a & sides_b) == 0) {
    if ((sides_a & 12) != 0) sides_a = vertically(a, sides_a);
    if ((sides_b & 12) != 0) sides_b = vertically(b, sides_b);
    if ((sides_a & sides_b) == 0) {
      if (sides_a != 0) sides_a = sideways(a, sides_a);
      if (sides_b != 0) sides_b = sideways(b, sides_b);
    }
  }
  inside = (sides_a | sides_b) == 0;
  return segment;
}

/// The pixels of a line from end to end, from left to right (Bresenham 1965).
inline void draw_line(BitMask& mask, Point a, Point b) {
  if (a.x > b.x) std::swap(a, b);
  const std::int64_t dx = b.x - a.x, dy = std::abs(b.y - a.y);
  const std::int64_t step_y = b.y < a.y ? -1 : 1;
  const std::int64_t length = std::max(dx, dy), rise = std::min(dx, dy);
  std::int64_t error = length - 2 * rise;
  for (std::int64_t i = 0; i <= length; ++i) {
    mask.set(static_cast<int>(a.x), static_cast<int>(a.y));
    const bool sidestep = error < 0;
    error -= 2 * rise;
    if (sidestep) error += 2 * length;
    if (dx >= dy || sidestep) ++a.x;
    if (dx < dy || sidestep) a.y += step_y;
  }
}

/// Fixed point of 16 fractional bits, in which OpenCV follows the sides of a polygon.
inline constexpr int fraction_bits = 16;
inline constexpr std::int64_t one = std::int64_t{1} << fraction_bits;

/// Where a side crosses the rows from its upper end up to, not including, its lower end.
inline void add_crossings(Point from, Point to, const LineSegment& visible,
                          std::vector<std::vector<std::int64_t>>& rows) {
  if (from.y == to.y) return;
  // The slope is that of the part inside the picture, between whole pixels, unless that part is level.
  const bool level = visible.a.y == visible.b.y;
  const std::int64_t from_y = level ? from.y : visible.a.y, to_y = level ? to.y : visible.b.y;
  const std::int64_t slope = (visible.b.x - visible.a.x) * one / (to_y - from_y);
  const bool down = from.y < to.y;
  const std::int64_t top = down ? from.y : to.y, bottom = down ? to.y : from.y;
  const std::int64_t start =
      down ? visible.a.x * one + (top - from_y) * slope : visible.b.x * one + (top - to_y) * slope;
  const std::int64_t first = std::max<std::int64_t>(top, 0);
  const std::int64_t last = std::min(bottom, static_cast<std::int64_t>(rows.size()));
  for (std::int64_t y = first; y < last; ++y) rows[static_cast<std::size_t>(y)].push_back(start + (y - top) * slope);
}

}  // namespace outline_detail

/// The pixels that a closed outline covers, its border included, as OpenCV's polylines and fillPoly paint it (imgproc,
/// drawing.cpp, line type 8; bit-equal to OpenCV 4.11 to 5.0, earlier versions differ where an outline leaves the
/// picture). One point is a pixel, two are a line. LISA's masks for ReasonSeg are made of these.
/// @throws InputError for an empty size, no point, or a coordinate beyond `max_outline_coordinate`
[[nodiscard]] inline BitMask outline_mask(std::span<const PixelPoint> outline, ImageSize size) {
  using namespace outline_detail;
  BitMask mask(size);
  if (outline.empty()) throw InputError("outline", found_expected("no point", "at least one"));
  for (const PixelPoint& p : outline)
    if (std::min(p.x, p.y) < -max_outline_coordinate || std::max(p.x, p.y) > max_outline_coordinate)
      throw InputError("outline", found_expected("point " + std::to_string(p.x) + ", " + std::to_string(p.y),
                                                 "coordinates between -1e6 and 1e6"));
  std::vector<std::vector<std::int64_t>> rows(static_cast<std::size_t>(size.height));
  const auto point = [](const PixelPoint& p) { return Point{p.x, p.y}; };
  Point from = point(outline.back());
  for (const PixelPoint& corner : outline) {
    const Point to = point(corner);
    const LineSegment visible = clipped({from, to}, size);
    if (visible.inside) draw_line(mask, visible.a, visible.b);
    add_crossings(from, to, visible, rows);
    from = to;
  }
  for (int y = 0; y < size.height; ++y) {
    std::vector<std::int64_t>& crossings = rows[static_cast<std::size_t>(y)];
    std::sort(crossings.begin(), crossings.end());
    for (std::size_t i = 0; i + 1 < crossings.size(); i += 2) {
      const std::int64_t left = std::max<std::int64_t>((crossings[i] + one - 1) >> fraction_bits, 0);
      const std::int64_t right = std::min<std::int64_t>(crossings[i + 1] >> fraction_bits, size.width - 1);
      for (std::int64_t x = left; x <= right; ++x) mask.set(static_cast<int>(x), y);
    }
  }
  return mask;
}

}  // namespace lisa
