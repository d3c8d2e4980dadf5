// torch-free
#include "lisa/image/edge_polygon.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lisa/image/polygon_mask.hpp"
#include "tests/support/random_mask.hpp"

#include <doctest/doctest.h>

using namespace lisa;

namespace {

/// Pixels of any of the outlines, as pycocotools fills them.
BitMask filled(const MaskPolygons& polygons, ImageSize size) {
  BitMask mask(size);
  for (const Polygon& outline : polygons.outer) {
    const BitMask part = polygon_mask(std::vector<double>(outline.begin(), outline.end()), size, "outline");
    for (int y = 0; y < size.height; ++y)
      for (std::size_t i = 0; i < mask.words_per_row(); ++i) mask.row(y)[i] |= part.row(y)[i];
  }
  return mask;
}

/// The mask with everything that it encloses: what no path over sides and corners of background pixels leads out of.
BitMask without_holes(const BitMask& mask) {
  BitMask full(mask.size());
  const auto outside = [](int at, int side) { return at < 0 || at >= side; };
  std::vector<int> pending;
  const int width = mask.width() + 2, height = mask.height() + 2;
  std::vector<std::uint8_t> reached(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  const auto visit = [&](int x, int y) {
    if (outside(x, width) || outside(y, height)) return;
    std::uint8_t& seen = reached[static_cast<std::size_t>(y * width + x)];
    const bool foreground = !outside(x - 1, mask.width()) && !outside(y - 1, mask.height()) && mask.at(x - 1, y - 1);
    if (seen != 0 || foreground) return;
    seen = 1;
    pending.push_back(y * width + x);
  };
  visit(0, 0);
  while (!pending.empty()) {
    const int x = pending.back() % width, y = pending.back() / width;
    pending.pop_back();
    for (int dy = -1; dy <= 1; ++dy)
      for (int dx = -1; dx <= 1; ++dx) visit(x + dx, y + dy);
  }
  for (int y = 0; y < mask.height(); ++y)
    for (int x = 0; x < mask.width(); ++x)
      full.set(x, y, reached[static_cast<std::size_t>((y + 1) * width + x + 1)] == 0);
  return full;
}

}  // namespace

TEST_CASE("edge polygons are filled to the very mask, holes included in it") {
  rc::check([] {
    const BitMask mask = test::random_mask(40);
    const MaskPolygons polygons = edge_polygons(mask);
    const BitMask full = without_holes(mask);
    RC_ASSERT(filled(polygons, mask.size()) == full);
    RC_ASSERT(polygons.has_holes == (full != mask));
    for (const Polygon& outline : polygons.outer) RC_ASSERT(outline.size() >= 8u);
  });
}

TEST_CASE("edge polygons: pixels that touch at a corner are apart, an empty mask has none") {
  BitMask mask({3, 3});
  CHECK(edge_polygons(mask).outer.empty());
  mask.set(0, 0);
  mask.set(1, 1);
  mask.set(2, 0);
  const MaskPolygons polygons = edge_polygons(mask);
  CHECK(polygons.outer ==
        std::vector<Polygon>{{0, 0, 1, 0, 1, 1, 0, 1}, {2, 0, 3, 0, 3, 1, 2, 1}, {1, 1, 2, 1, 2, 2, 1, 2}});
  CHECK_FALSE(polygons.has_holes);
}
