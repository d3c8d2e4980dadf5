// torch-free
#include "lisa/image/outline_mask.hpp"

#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "lisa/image/rle.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/recorded_arrays.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

TEST_CASE("outlines cover the pixels that OpenCV paints") {
  const auto text = test::file_bytes(LISA_TEST_DATA "/fixtures/masks/opencv_outlines.json");
  const nlohmann::json cases = nlohmann::json::parse(text.begin(), text.end());
  REQUIRE(cases.size() == 60);
  for (const auto& entry : cases) {
    CAPTURE(entry.dump());
    std::vector<PixelPoint> points;
    for (const auto& point : entry.at("points")) points.push_back({point.at(0).get<int>(), point.at(1).get<int>()});
    const BitMask mask = outline_mask(points, {entry.at("size").at(0).get<int>(), entry.at("size").at(1).get<int>()});
    CHECK(compressed_counts(encode_rle(mask)) == entry.at("counts").get<std::string>());
  }
}

TEST_CASE("a point is a pixel, two are a line, and the border belongs to the outline") {
  CHECK(area(outline_mask(std::vector<PixelPoint>{{2, 1}}, {4, 5})) == 1);
  CHECK(area(outline_mask(std::vector<PixelPoint>{{9, 1}}, {4, 5})) == 0);
  CHECK(area(outline_mask(std::vector<PixelPoint>{{0, 0}, {4, 3}}, {4, 5})) == 5);
  CHECK(area(outline_mask(std::vector<PixelPoint>{{1, 1}, {3, 1}, {3, 2}, {1, 2}}, {4, 5})) == 6);
}

TEST_CASE("outlines that are none are refused") {
  const auto refused = [](const std::vector<PixelPoint>& outline, const std::string& word) {
    return test::broken_promises({.row = "121", .kind = ErrorKind::input, .words = {"outline", word}},
                                 [&] { static_cast<void>(outline_mask(outline, {5, 5})); });
  };
  CHECK(refused({}, "no point") == "");
  CHECK(refused({{0, 0}, {1'000'001, 0}}, "1000001") == "");
  CHECK(refused({{0, std::numeric_limits<int>::min()}}, "-2147483648") == "");
}
