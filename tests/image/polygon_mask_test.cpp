// torch-free
#include "lisa/image/polygon_mask.hpp"

#include <rapidcheck.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "lisa/image/rle.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/recorded_arrays.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

TEST_CASE("polygons fill the pixels that pycocotools fills") {
  const auto text = test::file_bytes(LISA_TEST_DATA "/fixtures/masks/pycocotools_polygons.json");
  const nlohmann::json cases = nlohmann::json::parse(text.begin(), text.end());
  REQUIRE(cases.size() == 60);
  for (const auto& entry : cases) {
    CAPTURE(entry.dump());
    const ImageSize size{entry.at("size").at(0).get<int>(), entry.at("size").at(1).get<int>()};
    const BitMask mask = polygon_mask(entry.at("polygon").get<std::vector<double>>(), size);
    CHECK(compressed_counts(encode_rle(mask)) == entry.at("counts").get<std::string>());
  }
}

TEST_CASE("a rectangle on pixel borders fills its pixels; the direction of the outline does not matter") {
  CHECK(rc::check([] {
    const ImageSize size{*rc::gen::inRange(1, 90), *rc::gen::inRange(1, 90)};
    const int left = *rc::gen::inRange(0, size.width), right = *rc::gen::inRange(left, size.width) + 1;
    const int top = *rc::gen::inRange(0, size.height), bottom = *rc::gen::inRange(top, size.height) + 1;
    const auto d = [](int v) { return static_cast<double>(v); };
    const std::vector<double> clockwise{d(left), d(top), d(right), d(top), d(right), d(bottom), d(left), d(bottom)};
    const std::vector<double> back{d(left), d(bottom), d(right), d(bottom), d(right), d(top), d(left), d(top)};
    const BitMask mask = polygon_mask(clockwise, size);
    RC_ASSERT(mask == polygon_mask(back, size));
    RC_ASSERT(area(mask) == static_cast<std::int64_t>(right - left) * (bottom - top));
    RC_ASSERT((bounding_box(mask) == Rect{left, top, right - left, bottom - top}));
  }));
}

TEST_CASE("far coordinates are cut off at once") {
  // pycocotools walks along such an outline for more than a minute.
  const std::vector<double> far{2e7, 1e7, -9e7, 3e7, 5e7, -8e7, 1e8, 1e8};
  const double start = test::detail::process_seconds();
  CHECK(area(polygon_mask(far, {28, 28})) >= 0);
  CHECK(test::detail::process_seconds() - start < 1);
  CHECK(area(polygon_mask(std::vector<double>{-1e8, -1e8, 1e8, -1e8, 1e8, 1e8, -1e8, 1e8}, {30, 20})) == 600);
}

TEST_CASE("outlines that are none are refused") {
  const auto refused = [](std::vector<double> outline, const std::string& word) {
    return test::broken_promises({.row = "121", .kind = ErrorKind::input, .words = {"polygon 3", word}},
                                 [&] { static_cast<void>(polygon_mask(outline, {5, 5}, "polygon 3")); });
  };
  CHECK(refused({}, "0 coordinates") == "");
  CHECK(refused({1, 1, 2, 2}, "4 coordinates") == "");
  CHECK(refused({1, 1, 2, 2, 3, 3, 4}, "7 coordinates") == "");
  CHECK(refused({1, 1, 2, 2, 3, std::nan("")}, "nan") == "");
  CHECK(refused({1, 1, 2, 2, 3, -1e9}, "-1e8") == "");
  CHECK(refused({2147483648.0, 1, 2, 2, 3, 3}, "-1e8") == "");
}
