// torch-free
#include "lisa/image/resize.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

Image random_image(ImageSize size) {
  Image image = make_image(size);
  for (std::uint8_t& value : image.pixels) value = *rc::gen::arbitrary<std::uint8_t>();
  return image;
}

ImageSize any_size(int limit) { return {*rc::gen::inRange(1, limit), *rc::gen::inRange(1, limit)}; }
Resample any_filter() { return *rc::gen::element(Resample::bilinear, Resample::bicubic); }

Image crop(const Image& image, Rect r) {
  Image out = make_image({r.height, r.width});
  for (int y = 0; y < r.height; ++y)
    std::memcpy(out.row(y), image.row(r.y + y) + r.x * 3, static_cast<std::size_t>(r.width) * 3);
  return out;
}

}  // namespace

TEST_CASE("known values of Pillow") {
  Image image = make_image({1, 4});
  const std::vector<std::uint8_t> levels{0, 100, 200, 255};
  for (std::size_t x = 0; x < 4; ++x)
    std::fill_n(image.pixels.begin() + static_cast<std::ptrdiff_t>(3 * x), 3, levels[x]);
  const auto red = [](const Image& i) {
    std::vector<int> values;
    for (std::size_t x = 0; x < i.pixels.size(); x += 3) values.push_back(i.pixels[x]);
    return values;
  };
  CHECK(red(resize(image, {1, 2}, Resample::bilinear)) == std::vector{71, 209});
  CHECK(red(resize(image, {1, 7}, Resample::bilinear)) == std::vector{0, 36, 93, 150, 204, 235, 255});
  CHECK(red(resize(image, {1, 2}, Resample::bicubic)) == std::vector{60, 221});
  CHECK(red(resize(image, {1, 7}, Resample::bicubic)) == std::vector{0, 26, 92, 153, 206, 242, 255});
}

TEST_CASE("a constant image stays constant") {
  CHECK(rc::check([] {
    const auto level = *rc::gen::arbitrary<std::uint8_t>();
    Image image = make_image(any_size(40));
    std::fill(image.pixels.begin(), image.pixels.end(), level);
    const Image out = resize(image, any_size(60), any_filter());
    RC_ASSERT(std::all_of(out.pixels.begin(), out.pixels.end(), [&](std::uint8_t v) { return v == level; }));
  }));
}

TEST_CASE("a region equals the same part of the whole") {
  CHECK(rc::check([] {
    const Image image = random_image(any_size(40));
    const ImageSize size = any_size(60);
    const Resample filter = any_filter();
    Rect region;
    region.x = *rc::gen::inRange(0, size.width);
    region.y = *rc::gen::inRange(0, size.height);
    region.width = *rc::gen::inRange(1, size.width - region.x + 1);
    region.height = *rc::gen::inRange(1, size.height - region.y + 1);
    RC_ASSERT(resize_region(image, size, region, filter) == crop(resize(image, size, filter), region));
  }));
}

TEST_CASE("every implementation of a pass gives the same bytes") {
  CHECK(rc::check([] {
    const Image image = random_image(any_size(70));
    const Resample filter = any_filter();
    const int width = *rc::gen::inRange(1, 70);
    const auto taps = resize_detail::make_taps(image.width, width, 0, width, filter);
    std::vector<std::uint8_t> plain(static_cast<std::size_t>(width) * 3), dispatched(plain.size());
    resize_detail::horizontal_scalar(image.row(0), image.width, taps, width, plain.data());
    resize_detail::horizontal(image.row(0), image.width, taps, width, dispatched.data());
    RC_ASSERT(plain == dispatched);

    const auto rows = resize_detail::make_taps(image.height, 1, 0, 1, filter);
    const std::size_t bytes = static_cast<std::size_t>(image.width) * 3;
    std::vector<std::uint8_t> a(bytes), b(bytes);
    resize_detail::vertical_scalar(image.row(rows.first[0]), bytes, rows.of(0), rows.count[0], 0, bytes, a.data());
    resize_detail::vertical(image.row(rows.first[0]), bytes, rows.of(0), rows.count[0], bytes, b.data());
    RC_ASSERT(a == b);
  }));
}

TEST_CASE("keeping the size keeps the bytes") {
  CHECK(rc::check([] {
    const Image image = random_image(any_size(20));
    RC_ASSERT(resize(image, image.size(), any_filter()) == image);
  }));
}

TEST_CASE("a picture large enough for several threads gives the same bytes as its parts") {
  Image image = make_image({3000, 4000});
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * i >> 7);
  const Image whole = resize(image, {1500, 2000}, Resample::bicubic);
  for (const Rect region : {Rect{0, 0, 2000, 40}, Rect{3, 741, 1000, 40}, Rect{1900, 1460, 100, 40}})
    CHECK(resize_region(image, {1500, 2000}, region, Resample::bicubic) == crop(whole, region));
}

TEST_CASE("wrong sizes and regions are named") {
  const Image image = make_image({4, 4});
  CHECK_THROWS_WITH_AS(static_cast<void>(resize(image, {0, 3}, Resample::bilinear)),
                       "resize: found 3x0 pixels, expected at least one pixel on each side", InputError);
  CHECK_THROWS_WITH_AS(static_cast<void>(resize_region(image, {4, 4}, {2, 0, 3, 1}, Resample::bilinear)),
                       "resize: found a region outside the 4x4 result, expected one inside", InputError);
  CHECK_THROWS_AS(static_cast<void>(resize(Image{1, 1, {}}, {2, 2}, Resample::bilinear)), InputError);
}
