// torch-free
#include "lisa/image/write_png.hpp"

#include <rapidcheck.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "lisa/image/read_image.hpp"
#include "tests/support/random_mask.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

TEST_CASE("a written picture is read back unchanged") {
  CHECK(rc::check([] {
    Image image = make_image({*rc::gen::inRange(1, 40), *rc::gen::inRange(1, 40)});
    const int slope = *rc::gen::inRange(0, 9);  // smooth and noisy rows, so that every filter is chosen
    const int noise = *rc::gen::inRange(1, 256);
    for (std::size_t i = 0; i < image.pixels.size(); ++i)
      image.pixels[i] = static_cast<std::uint8_t>(slope * static_cast<int>(i) / 3 + *rc::gen::inRange(0, noise));
    RC_ASSERT(decode_image(encode_png(image), "written") == image);
  }));
}

TEST_CASE("a written mask is read back as black and white") {
  CHECK(rc::check([] {
    const BitMask mask = test::random_mask(80);
    const Image image = decode_image(encode_png(mask), "written");
    RC_ASSERT(image.size() == mask.size());
    for (int y = 0; y < mask.height(); ++y)
      for (int x = 0; x < mask.width(); ++x) RC_ASSERT(image.row(y)[x * 3 + 1] == (mask.at(x, y) ? 255 : 0));
  }));
}

TEST_CASE("a file appears whole or not at all") {
  const test::TempDir temp;
  const Image image = make_image({3, 5});
  write_png(temp / "picture.png", image);
  CHECK(read_image(temp / "picture.png") == image);
  BitMask mask({3, 5});
  mask.set(4, 2);
  write_png(temp / "mask.png", mask);
  CHECK(read_image(temp / "mask.png").row(2)[4 * 3] == 255);
  CHECK_THROWS_AS(write_png(temp / "no such folder" / "picture.png", image), IoError);
  CHECK_THROWS_AS(write_png(temp / "picture.png", Image{}), InputError);
  CHECK(read_image(temp / "picture.png") == image);
  CHECK(std::distance(std::filesystem::directory_iterator(temp.path()), {}) == 2);
}

TEST_CASE("buffers of the wrong size are refused") {
  CHECK_THROWS_WITH_AS(static_cast<void>(encode_grey_png(std::vector<std::uint8_t>(5), {2, 3})),
                       "grey image: found 5 levels, expected as many as 3x2 pixels", InputError);
  CHECK_THROWS_AS(static_cast<void>(encode_png(BitMask{})), InputError);
}
