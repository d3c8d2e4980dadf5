// torch-free
#include "lisa/image/overlay.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

Image grey_image(ImageSize size) {
  Image image = make_image(size);
  std::fill(image.pixels.begin(), image.pixels.end(), std::uint8_t{100});
  return image;
}

BitMask disc(ImageSize size, int x0, int y0, int radius) {
  BitMask mask(size);
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; ++x) mask.set(x, y, std::hypot(x - x0, y - y0) < radius);
  return mask;
}

Color pixel(const Image& image, int x, int y) {
  const std::uint8_t* p = image.row(y) + x * 3;
  return {p[0], p[1], p[2]};
}

using Vector = std::array<double, 3>;
using Matrix = std::array<Vector, 3>;

Vector product(const Matrix& matrix, const Vector& v) {
  Vector out{};
  for (std::size_t i = 0; i < 3; ++i) out[i] = matrix[i][0] * v[0] + matrix[i][1] * v[1] + matrix[i][2] * v[2];
  return out;
}

/// A colour of sRGB as light, and as somebody sees it whose cones work as the matrix says.
Vector seen(const Color& color, const Matrix& eyes) {
  Vector light{};
  for (std::size_t i = 0; i < 3; ++i) {
    const double level = color[i] / 255.0;
    light[i] = level <= 0.04045 ? level / 12.92 : std::pow((level + 0.055) / 1.055, 2.4);
  }
  light = product(eyes, light);
  for (double& value : light) value = std::clamp(value, 0.0, 1.0);
  return light;
}

/// CIE 1976 L*a*b* of light in sRGB's primaries, white of D65.
Vector lab(const Vector& light) {
  constexpr Matrix to_xyz{
      {{0.4124564, 0.3575761, 0.1804375}, {0.2126729, 0.7151522, 0.0721750}, {0.0193339, 0.1191920, 0.9503041}}};
  Vector f = product(to_xyz, light);
  f[0] /= 0.95047;
  f[2] /= 1.08883;
  for (double& value : f) value = value > 0.008856 ? std::cbrt(value) : 7.787 * value + 16.0 / 116;
  return {116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])};
}

}  // namespace

TEST_CASE("the colours stay apart for readers with any form of colour blindness") {
  struct Eyes {
    const char* name;
    Matrix matrix;
  };
  // Complete protanopia, deuteranopia and tritanopia: Machado, Oliveira and Fernandes (2009), severity 1.
  for (const Eyes& eyes :
       {Eyes{"normal", {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}}},
        Eyes{"protanopia",
             {{{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}}}},
        Eyes{"deuteranopia",
             {{{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}}}},
        Eyes{"tritanopia",
             {{{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}}}}}) {
    CAPTURE(eyes.name);
    for (std::size_t i = 0; i < overlay_palette.size(); ++i)
      for (std::size_t j = 0; j < i; ++j) {
        CAPTURE(i);
        CAPTURE(j);
        const Vector a = lab(seen(overlay_palette[i], eyes.matrix)), b = lab(seen(overlay_palette[j], eyes.matrix));
        // A distance of 2.3 is just noticed.
        CHECK(std::hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]) > 10);
      }
  }
}

TEST_CASE("masks are tinted in their colours, the rest of the picture stays") {
  const ImageSize size{400, 600};
  const Image image = grey_image(size);
  const BitMask left = disc(size, 150, 200, 100), right = disc(size, 450, 200, 100);
  const std::vector<OverlayItem> items{{&left, "the left one", 0.93}, {&right, "the right one"}};
  const Image out = draw_overlay(image, items);
  CHECK(out.width == 600);
  CHECK(out.height > 400);
  const auto tint = [](const Color& c) {
    Color mixed{};
    for (std::size_t i = 0; i < 3; ++i) mixed[i] = static_cast<std::uint8_t>((100 + c[i]) / 2);
    return mixed;
  };
  CHECK(pixel(out, 100, 150) == tint(overlay_palette[0]));
  CHECK(pixel(out, 500, 250) == tint(overlay_palette[1]));
  CHECK(pixel(out, 5, 5) == Color{100, 100, 100});
  CHECK(pixel(out, 300, 390) == Color{100, 100, 100});
  CHECK(pixel(out, 2, out.height - 2) == Color{255, 255, 255});
}

TEST_CASE("every mask has a line in the legend and a number on itself") {
  const ImageSize size{400, 600};
  const Image image = grey_image(size);
  const BitMask mask = disc(size, 300, 200, 100);
  const auto drawn = [&](std::size_t count) {
    return draw_overlay(image, std::vector<OverlayItem>(count, {&mask, "cup"}));
  };
  CHECK(drawn(0) == image);
  const int one = drawn(1).height, two = drawn(2).height;
  CHECK(one > 400);
  CHECK(drawn(3).height - two == two - one);
  const Image out = drawn(1);
  bool has_white = false;
  for (int y = 150; y < 250; ++y)
    for (int x = 250; x < 350; ++x) has_white = has_white || pixel(out, x, y)[2] > 180;  // the tint has no blue
  CHECK(has_white);
}

TEST_CASE("long phrases are wrapped and cut, with or without blanks") {
  const ImageSize size{100, 500};
  const Image image = grey_image(size);
  const BitMask mask = disc(size, 50, 50, 20);
  const auto height = [&](const std::string& phrase) {
    return draw_overlay(image, std::vector<OverlayItem>{{&mask, phrase}}).height;
  };
  const int line = height("cup");
  CHECK(height("the cup that stands on the table beside the window behind the chair and the lamp") > line);
  CHECK(height(std::string(300, 'w')) > line);
  CHECK(height(std::string(1'000'000, 'w')) == height(std::string(3000, 'w')));
  CHECK(height(std::string(1'000'000, ' ')) < line * 2);
  CHECK(height("\xe6\x9d\xaf \x1b[31m \xff") == line);

  const overlay_detail::Style style(500);
  for (const std::string& text : overlay_detail::wrap("a rather long phrase of several words to be cut", 120, style))
    CHECK(style.text_size(text).width <= 120);
}

TEST_CASE("odd pictures and masks are drawn") {
  for (const ImageSize size : {ImageSize{1, 1}, {1, 3000}, {3000, 1}, {40, 30}}) {
    CAPTURE(size.height);
    BitMask full(size);
    for (int y = 0; y < size.height; ++y)
      for (int x = 0; x < size.width; ++x) full.set(x, y);
    const BitMask none(size);
    const Image out = draw_overlay(grey_image(size), std::vector<OverlayItem>{{&full, "all"}, {&none, "nothing", 0.0}});
    CHECK(out.width == std::max(320, size.width));
    CHECK(out.height > size.height);
  }
}

TEST_CASE("many masks repeat colours but not numbers") {
  const ImageSize size{300, 300};
  std::vector<BitMask> masks;
  for (int i = 0; i < 20; ++i) masks.push_back(disc(size, 15 * i, 150, 10));
  std::vector<OverlayItem> items;
  for (const BitMask& mask : masks) items.push_back({&mask, "part"});
  CHECK(draw_overlay(grey_image(size), items).height > 300);
}

TEST_CASE("masks that do not fit the picture are named") {
  const BitMask mask({3, 5});
  CHECK_THROWS_WITH_AS(static_cast<void>(draw_overlay(make_image({4, 4}), std::vector<OverlayItem>{{&mask, ""}})),
                       "mask 1: found 5x3, expected 4x4", InputError);
  CHECK_THROWS_AS(static_cast<void>(draw_overlay(make_image({4, 4}), std::vector<OverlayItem>{{}})), InputError);
}
