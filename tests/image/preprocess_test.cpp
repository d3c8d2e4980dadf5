// torch-free
#include "lisa/image/preprocess.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lisa/image/read_image.hpp"
#include "tests/support/recorded_arrays.hpp"
#include "tests/support/sha256.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

const std::string folder = LISA_TEST_DATA "/golden/units/preprocess/";

std::vector<float> flat(const LevelTable& table) {
  std::vector<float> values;
  for (const auto& channel : table) values.insert(values.end(), channel.begin(), channel.end());
  return values;
}

ImageSize recorded_size(const nlohmann::json& pair) { return {pair.at(0), pair.at(1)}; }

Image gradient(ImageSize size) {
  Image image = make_image(size);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 37 + i / 91);
  return image;
}

}  // namespace

TEST_CASE("preprocessing equals the original's, byte for byte") {
  const auto arrays = test::recorded_arrays(folder + "preprocess.safetensors");
  const auto text = test::file_bytes(folder + "preprocess.json");
  const auto record = nlohmann::json::parse(text.begin(), text.end());
  REQUIRE(record.at("images").size() == 6);
  for (const auto& entry : record.at("images")) {
    const std::string name = entry.at("name");
    CAPTURE(name);
    const Image image = read_image(folder + entry.at("image").get<std::string>());
    CHECK(image.size() == recorded_size(entry.at("size")));

    const SamPixels sam = sam_pixels(image);
    CHECK(sam.original_size == image.size());
    CHECK(sam.resized_size == recorded_size(entry.at("resized1024")));
    CHECK(sam.resized.size() == sam.resized_size);
    CHECK(test::sha256(sam.resized.pixels) == entry.at("resized1024_sha256").get<std::string>());
    const auto points = arrays.at(name + ".points_yx").as<std::int32_t>();
    const auto& values = arrays.at(name + ".resized1024_at_points").bytes;
    int different = 0;
    for (std::size_t i = 0; i < points.size() / 2; ++i)
      different += std::memcmp(sam.resized.row(points[2 * i]) + points[2 * i + 1] * 3, values.data() + i * 3, 3) != 0;
    CHECK(different == 0);

    const SamPixels small = sam_pixels(image, {.side = 256});
    CHECK(small.resized_size == recorded_size(entry.at("resized256")));
    CHECK(small.resized.pixels == arrays.at(name + ".resized256").bytes);

    const Image crop = clip_pixels(image);
    CHECK(crop.size() == ImageSize{224, 224});
    CHECK(crop.pixels == arrays.at(name + ".clip_crop_u8").bytes);
  }
}

TEST_CASE("normalisation gives the original's float for every level") {
  const auto arrays = test::recorded_arrays(folder + "preprocess.safetensors");
  CHECK(flat(level_table(SamPreprocess{})) == arrays.at("sam_lut").as<float>());
  CHECK(flat(level_table(ClipPreprocess{})) == arrays.at("clip_lut").as<float>());
}

TEST_CASE("planes hold the image in the corner and zeros elsewhere") {
  const Image image = gradient({2, 3});
  LevelTable table{};
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t level = 0; level < 256; ++level) table[c][level] = static_cast<float>(1000 * (c + 1) + level);
  std::vector<float> planes(3 * 4 * 4, -1.0F);
  normalize_planes(image, table, 4, planes.data());
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 4; ++y)
      for (int x = 0; x < 4; ++x) {
        const float expected = y < 2 && x < 3 ? static_cast<float>(1000 * (c + 1) + image.row(y)[x * 3 + c]) : 0.0F;
        CHECK(planes[static_cast<std::size_t>((c * 4 + y) * 4 + x)] == expected);
      }
}

TEST_CASE("sizes follow the original's rounding") {
  CHECK(longest_side_size({480, 640}, 1024) == ImageSize{768, 1024});
  CHECK(longest_side_size({97, 1201}, 1024) == ImageSize{83, 1024});
  CHECK(longest_side_size({1, 1}, 1024) == ImageSize{1024, 1024});
  CHECK(shortest_edge_size({517, 333}, 224) == ImageSize{347, 224});  // 347.7 is cut, not rounded
  CHECK(shortest_edge_size({333, 517}, 224) == ImageSize{224, 347});
  CHECK(shortest_edge_size({224, 224}, 224) == ImageSize{224, 224});
}

TEST_CASE("extreme aspect ratios are answered") {
  // The original fails where the short side rounds to 0; the nearest picture that has a pixel is one pixel high.
  CHECK(longest_side_size({1, 2049}, 1024) == ImageSize{1, 1024});
  CHECK(longest_side_size({10'000, 1}, 1024) == ImageSize{1024, 1});
  for (const ImageSize size : {ImageSize{1, 1}, {1, 2049}, {10'000, 1}, {1, 10'000}, {3, 5}}) {
    CAPTURE(size.height);
    CAPTURE(size.width);
    const Image image = gradient(size);
    const SamPixels sam = sam_pixels(image);
    CHECK(sam.resized.size() == sam.resized_size);
    CHECK(std::max(sam.resized_size.height, sam.resized_size.width) == 1024);
    CHECK(clip_pixels(image).size() == ImageSize{224, 224});
  }
}

TEST_CASE("other towers' sizes are followed, impossible ones refused") {
  CHECK(clip_pixels(gradient({50, 70}), {.shortest_edge = 336, .crop = 336}).size() == ImageSize{336, 336});
  CHECK_THROWS_WITH_AS(static_cast<void>(clip_pixels(gradient({5, 7}), {.shortest_edge = 224, .crop = 336})),
                       "crop: found 336, expected 1..224 (shortest_edge)", InputError);
  CHECK_THROWS_AS(static_cast<void>(sam_pixels(Image{})), InputError);
  CHECK_THROWS_AS(static_cast<void>(clip_pixels(Image{2, 2, {1, 2, 3}})), InputError);
}
