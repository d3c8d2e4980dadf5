// torch-free
#include "lisa/data/tabletop/draw.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lisa/data/random.hpp"
#include "lisa/data/tabletop/scene.hpp"

#include <doctest/doctest.h>

using namespace lisa;
using namespace lisa::tabletop;

namespace {

constexpr int side = 96;

Image grey(std::uint8_t value) {
  Image picture = make_image({side, side});
  std::fill(picture.pixels.begin(), picture.pixels.end(), value);
  return picture;
}

/// Mean brightness of each square of 8 x 8 pixels, in which a sensor's grain averages out.
std::vector<double> blocks(const Image& picture) {
  constexpr int edge = 8;
  std::vector<double> means;
  for (int top = 0; top < picture.height; top += edge)
    for (int left = 0; left < picture.width; left += edge) {
      double sum = 0;
      for (int y = top; y < top + edge; ++y)
        for (int x = 3 * left; x < 3 * (left + edge); ++x) sum += picture.row(y)[x];
      means.push_back(sum / (3 * edge * edge));
    }
  return means;
}

double spread(const std::vector<double>& values) {
  double mean = 0, square = 0;
  for (const double value : values) mean += value / static_cast<double>(values.size());
  for (const double value : values) square += (value - mean) * (value - mean) / static_cast<double>(values.size());
  return std::sqrt(square);
}

}  // namespace

TEST_CASE("tabletop: no table is flat, most have a pattern, and no two are alike") {
  std::vector<double> spreads;
  Image before;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Random random{seed};
    const Image table = draw_table({side, side}, random);
    spreads.push_back(spread(blocks(table)));
    CHECK(table != before);
    before = table;
  }
  std::sort(spreads.begin(), spreads.end());
  MESSAGE("spread of brightness from " << spreads.front() << " to " << spreads.back() << ", median "
                                       << spreads[spreads.size() / 2]);
  CHECK(spreads.front() > 1);
  CHECK(spreads[spreads.size() / 2] > 4);
}

TEST_CASE("tabletop: an object casts a shadow to its lower right, outside of its mask, and brightens nothing there") {
  rc::check([] {
    PlacedObject object;
    object.kind = *rc::gen::inRange<std::size_t>(0, kinds.size());
    object.radius = *rc::gen::inRange(130, 200) / 10.0;
    object.angle = *rc::gen::inRange(-50, 51) / 100.0;
    object.x = *rc::gen::inRange(300, 660) / 10.0;
    object.y = *rc::gen::inRange(300, 660) / 10.0;
    const std::size_t color = *rc::gen::inRange<std::size_t>(0, colors.size());
    Rgb body;
    for (std::size_t c = 0; c < 3; ++c) body[c] = colors[color].rgb[c];
    const auto drawn_on = [&](std::uint8_t table, std::vector<std::uint8_t>& owners) {
      Image picture = grey(table);
      owners.assign(std::size_t{side} * side, 0);
      draw_object(object, body, 1, picture, owners);
      return picture;
    };
    // No shadow darkens black, so that there the object shows, and all of it.
    std::vector<std::uint8_t> owners;
    const Image alone = drawn_on(0, owners), lit = drawn_on(200, owners);
    double shadow = 0, shadow_x = 0, shadow_y = 0, mask = 0, mask_x = 0, mask_y = 0;
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x) {
        const auto pixel = static_cast<std::size_t>(y * side + x);
        if (owners[pixel] != 0) {
          ++mask;
          mask_x += x;
          mask_y += y;
          continue;
        }
        const auto* const object_here = alone.pixels.data() + 3 * pixel;
        if (std::any_of(object_here, object_here + 3, [](std::uint8_t value) { return value != 0; })) continue;
        for (std::size_t c = 0; c < 3; ++c) {
          RC_ASSERT(lit.pixels[3 * pixel + c] <= 200);
          RC_ASSERT(lit.pixels[3 * pixel + c] >= 100);
        }
        const double darkness = 200 - lit.pixels[3 * pixel];
        shadow += darkness;
        shadow_x += darkness * x;
        shadow_y += darkness * y;
      }
    // As much as a tenth of the object, a quarter darker.
    RC_ASSERT(shadow > 0.1 * mask * 50);
    RC_ASSERT(shadow_x / shadow > mask_x / mask);
    RC_ASSERT(shadow_y / shadow > mask_y / mask);
  });
}

TEST_CASE("tabletop: in whole scenes the table is darker at the lower right of an object than at its upper left") {
  double lower_right = 0, upper_left = 0, right_count = 0, left_count = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Random random{seed};
    const Scene scene = make_scene({}, Combinations::training, random);
    const auto owner = [&](int x, int y) { return scene.owners[static_cast<std::size_t>(y * side + x)]; };
    constexpr int step = 2;
    for (int y = step; y < side - step; ++y)
      for (int x = step; x < side - step; ++x) {
        if (owner(x, y) != 0) continue;
        const double brightness = scene.image.row(y)[3 * x + 1];
        const bool after = owner(x - step, y - step) != 0, before = owner(x + step, y + step) != 0;
        if (after && !before) lower_right += brightness, ++right_count;
        if (before && !after) upper_left += brightness, ++left_count;
      }
  }
  const double difference = upper_left / left_count - lower_right / right_count;
  MESSAGE("darker by " << difference);
  CHECK(difference > 15);
}
