// torch-free
#include "lisa/image/encode_jpeg.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/data/random.hpp"
#include "lisa/image/decode_jpeg.hpp"

#include <doctest/doctest.h>

using namespace lisa;

TEST_CASE("a JPEG file holds the picture up to rounding, edges of colored areas included") {
  for (const ImageSize size : {ImageSize{1, 1}, ImageSize{37, 51}, ImageSize{64, 16}}) {
    Image image = make_image(size);
    for (int y = 0; y < size.height; ++y)
      for (int x = 0; x < size.width; ++x)
        for (int c = 0; c < 3; ++c)
          image.row(y)[3 * x + c] = static_cast<std::uint8_t>((x / 5 + y / 7 + c) % 3 == 0 ? 220 : 40);
    const Image decoded = decode_jpeg(encode_jpeg(image, 100), "encoded");
    REQUIRE(decoded.size() == size);
    int worst = 0;
    for (std::size_t i = 0; i < image.pixels.size(); ++i)
      worst = std::max(worst, std::abs(int{image.pixels[i]} - int{decoded.pixels[i]}));
    CHECK(worst <= 6);
  }
}

TEST_CASE("less quality makes smaller JPEG files; what cannot be one is refused") {
  Image image = make_image({40, 40});
  Random random{1};
  for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(random.below(256));
  CHECK(encode_jpeg(image, 20).size() < encode_jpeg(image, 95).size());
  CHECK_THROWS_AS(static_cast<void>(encode_jpeg(image, 0)), InputError);
  CHECK_THROWS_AS(static_cast<void>(encode_jpeg(Image{})), InputError);
  CHECK_THROWS_AS(static_cast<void>(encode_jpeg(make_image({1, 70'000}))), InputError);
}
