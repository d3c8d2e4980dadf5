// torch-free
#include "lisa/image/polygon.hpp"

#include <rapidcheck.h>

#include <cmath>
#include <vector>

#include "lisa/image/mask_json.hpp"
#include "tests/support/random_mask.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

BitMask rectangle(ImageSize size, Rect r) {
  BitMask mask(size);
  for (int y = r.y; y < r.y + r.height; ++y)
    for (int x = r.x; x < r.x + r.width; ++x) mask.set(x, y);
  return mask;
}

}  // namespace

TEST_CASE("outlines go through the centres of the border pixels") {
  const BitMask mask = rectangle({10, 12}, {2, 3, 5, 4});
  const MaskPolygons polygons = mask_polygons(mask);
  REQUIRE(polygons.outer.size() == 1);
  CHECK_FALSE(polygons.has_holes);
  CHECK(polygons.outer[0] == Polygon{2.5F, 3.5F, 2.5F, 6.5F, 6.5F, 6.5F, 6.5F, 3.5F});
}

TEST_CASE("parts, holes and thin parts are all accounted for") {
  CHECK(mask_polygons(BitMask({4, 4})).outer.empty());
  BitMask mask = rectangle({20, 40}, {1, 1, 9, 9});
  mask.set(5, 5, false);
  CHECK(mask_polygons(mask).has_holes);
  mask.set(30, 10);
  for (int x = 20; x < 26; ++x) mask.set(x, 3);
  const MaskPolygons polygons = mask_polygons(mask);
  CHECK(polygons.outer.size() == 3);
  CHECK(std::count(polygons.outer.begin(), polygons.outer.end(), Polygon{30, 10, 31, 10, 31, 11, 30, 11}) == 1);
  CHECK(std::count(polygons.outer.begin(), polygons.outer.end(), Polygon{20, 3, 26, 3, 26, 4, 20, 4}) == 1);
}

TEST_CASE("every polygon lies in the mask's bounding box and has three points") {
  CHECK(rc::check([] {
    const BitMask mask = test::random_mask(60);
    const Rect box = bounding_box(mask);
    for (const Polygon& polygon : mask_polygons(mask).outer) {
      RC_ASSERT(polygon.size() >= 6 && polygon.size() % 2 == 0);
      for (std::size_t i = 0; i < polygon.size(); i += 2) {
        RC_ASSERT(polygon[i] >= box.x && polygon[i] <= box.x + box.width);
        RC_ASSERT(polygon[i + 1] >= box.y && polygon[i + 1] <= box.y + box.height);
      }
    }
    RC_ASSERT(mask_polygons(mask).outer.empty() == (area(mask) == 0));
  }));
}

TEST_CASE("filling the outlines of a mask without holes gives it back") {
  BitMask mask({64, 80});
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 80; ++x) mask.set(x, y, std::hypot(x - 40, (y - 30) * 1.3) < 25 || (x < 9 && y > 50));
  std::vector<std::uint8_t> bytes(64 * 80);
  cv::Mat filled(64, 80, CV_8UC1, bytes.data());
  for (const Polygon& polygon : mask_polygons(mask).outer) {
    std::vector<std::vector<cv::Point>> points(1);
    for (std::size_t i = 0; i < polygon.size(); i += 2)
      points[0].emplace_back(static_cast<int>(polygon[i]), static_cast<int>(polygon[i + 1]));
    cv::fillPoly(filled, points, cv::Scalar(1));
  }
  CHECK(bytes == mask_bytes(mask));
}

TEST_CASE("JSON takes COCO's form") {
  const BitMask mask = rectangle({3, 4}, {1, 1, 2, 1});
  CHECK(rle_json(mask).dump() == R"({"counts":"41202","size":[3,4]})");
  CHECK(polygon_json(mask).dump() == "[[1.0,1.0,3.0,1.0,3.0,2.0,1.0,2.0]]");
  CHECK(box_json(bounding_box(mask)).dump() == "[1,1,2,1]");
}
