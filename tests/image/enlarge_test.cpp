// torch-free
#include "lisa/image/enlarge.hpp"

#include <doctest/doctest.h>

using namespace lisa;

TEST_CASE("every pixel becomes a square, masks and pictures alike") {
  Image image = make_image({2, 3});
  BitMask mask(image.size());
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(10 * i);
  mask.set(2, 0);
  mask.set(0, 1);
  const Image large = enlarge(image, 3);
  const BitMask large_mask = enlarge(mask, 3);
  CHECK(large.size() == ImageSize{6, 9});
  CHECK(large_mask.size() == large.size());
  for (int y = 0; y < large.height; ++y)
    for (int x = 0; x < large.width; ++x) {
      CHECK(large_mask.at(x, y) == mask.at(x / 3, y / 3));
      for (int c = 0; c < 3; ++c) CHECK(large.row(y)[3 * x + c] == image.row(y / 3)[3 * (x / 3) + c]);
    }
  CHECK(enlarge(image, 1).pixels == image.pixels);
  CHECK(enlarge(mask, 1) == mask);
}
