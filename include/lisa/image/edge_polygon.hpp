#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "lisa/image/mask.hpp"
#include "lisa/image/polygon.hpp"

namespace lisa {

namespace edge_polygon_detail {

/// Right, down, left, up; the next one is a turn to the right.
inline constexpr std::array<std::array<int, 2>, 4> steps{{{1, 0}, {0, 1}, {-1, 0}, {0, -1}}};

/// Edges between foreground and background, each from one pixel corner to the next with the foreground on its right.
class BorderEdges {
 public:
  explicit BorderEdges(const BitMask& mask)
      : columns_(static_cast<std::size_t>(mask.width()) + 1),
        leaving_(columns_ * (static_cast<std::size_t>(mask.height()) + 1)) {
    const auto background = [&](int x, int y) {
      return x < 0 || y < 0 || x >= mask.width() || y >= mask.height() || !mask.at(x, y);
    };
    for (int y = 0; y < mask.height(); ++y)
      for (int x = 0; x < mask.width(); ++x) {
        if (!mask.at(x, y)) continue;
        if (background(x, y - 1)) mark(x, y, 0);
        if (background(x + 1, y)) mark(x + 1, y, 1);
        if (background(x, y + 1)) mark(x + 1, y + 1, 2);
        if (background(x - 1, y)) mark(x, y + 1, 3);
      }
  }

  [[nodiscard]] bool has(int x, int y, std::size_t direction) const {
    return (leaving_[corner(x, y)] >> direction & 1) != 0;
  }
  void remove(int x, int y, std::size_t direction) {
    leaving_[corner(x, y)] &= static_cast<std::uint8_t>(~(1U << direction));
  }

 private:
  [[nodiscard]] std::size_t corner(int x, int y) const {
    return static_cast<std::size_t>(y) * columns_ + static_cast<std::size_t>(x);
  }
  void mark(int x, int y, std::size_t direction) {
    leaving_[corner(x, y)] |= static_cast<std::uint8_t>(1U << direction);
  }

  std::size_t columns_;
  std::vector<std::uint8_t> leaving_;  ///< a bit for each direction in which an edge leaves the corner
};

struct Loop {
  Polygon corners;
  std::int64_t doubled_area = 0;  ///< negative around a hole
};

/// Follows and removes the edges from one on, turning right where two ways lead on: pixels that only touch at a corner
/// are apart.
[[nodiscard]] inline Loop follow(BorderEdges& edges, int start_x, int start_y) {
  Loop loop;
  int x = start_x, y = start_y;
  std::size_t direction = 0, before = 4;
  do {
    if (direction != before) {
      loop.corners.push_back(static_cast<float>(x));
      loop.corners.push_back(static_cast<float>(y));
    }
    if (before != 4) edges.remove(x, y, direction);
    const int next_x = x + steps[direction][0], next_y = y + steps[direction][1];
    loop.doubled_area += std::int64_t{x} * next_y - std::int64_t{next_x} * y;
    x = next_x;
    y = next_y;
    before = direction;
    for (const std::size_t turn : {1U, 0U, 3U}) {
      direction = (before + turn) % 4;
      if (edges.has(x, y, direction)) break;
    }
  } while (x != start_x || y != start_y || direction != 0);
  edges.remove(x, y, direction);
  return loop;
}

}  // namespace edge_polygon_detail

/// The outlines of `mask` along the edges of its pixels, one per 4-connected part, in COCO's polygon form: unlike
/// `mask_polygons`, they enclose every pixel wholly, so that pycocotools fills them to the very mask, holes excepted.
[[nodiscard]] inline MaskPolygons edge_polygons(const BitMask& mask) {
  using namespace edge_polygon_detail;
  BorderEdges edges(mask);
  MaskPolygons result;
  for (int y = 0; y <= mask.height(); ++y)
    for (int x = 0; x < mask.width(); ++x)
      if (edges.has(x, y, 0)) {
        Loop loop = follow(edges, x, y);
        if (loop.doubled_area > 0)
          result.outer.push_back(std::move(loop.corners));
        else
          result.has_holes = true;
      }
  return result;
}

}  // namespace lisa
