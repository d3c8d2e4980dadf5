// torch-free
#include "lisa/image/read_image.hpp"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/recorded_arrays.hpp"
#include "tests/support/sha256.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

const std::string folder = LISA_TEST_DATA "/fixtures/images/";

}  // namespace

TEST_CASE("every kind of picture is read as cv2.imread reads it") {
  const auto text = test::file_bytes(folder + "expected.json");
  const auto expected = nlohmann::json::parse(text.begin(), text.end());
  REQUIRE(expected.size() >= 60);
  for (const auto& [name, record] : expected.items()) {
    CAPTURE(name);
    const Image image = read_image(folder + name);
    CHECK(image.size() == ImageSize{record.at("size").at(0), record.at("size").at(1)});
    CHECK(test::sha256(image.pixels) == record.at("sha256").get<std::string>());
  }
}

TEST_CASE("the content decides the format, not the name") {
  const test::TempDir temp;
  std::filesystem::copy_file(folder + "rgb_8.png", temp / "photo.jpg");
  CHECK(read_image(temp / "photo.jpg") == read_image(folder + "rgb_8.png"));
}

TEST_CASE("limits are the caller's") {
  CHECK_NOTHROW(static_cast<void>(read_image(folder + "rgb_8.png", {.max_pixels = 11 * 13})));
  CHECK_THROWS_AS(static_cast<void>(read_image(folder + "rgb_8.png", {.max_pixels = 11 * 13 - 1})), LimitError);
  CHECK_THROWS_AS(static_cast<void>(read_image(folder + "rgb_8.png", {.max_file_bytes = 100})), LimitError);
  CHECK_THROWS_AS(static_cast<void>(read_image(folder + "420_progressive.jpg", {.max_jpeg_scans = 3})), LimitError);
}
