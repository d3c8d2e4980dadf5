#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <vector>

#include "lisa/data/random.hpp"
#include "lisa/data/tabletop/kinds.hpp"
#include "lisa/data/tabletop/shapes.hpp"
#include "lisa/image/image.hpp"

namespace lisa::tabletop {

/// Red, green, blue, 0 to 255 each.
using Rgb = std::array<float, 3>;

/// An object and where it lies.
struct PlacedObject {
  std::size_t kind = 0;   ///< index into `kinds`
  std::size_t color = 0;  ///< index into `colors`
  double x = 0;           ///< of the center, in pixels from the left
  double y = 0;           ///< from the top
  double radius = 0;      ///< pixels that are 1 in the coordinates of its shape
  double angle = 0;       ///< radians, clockwise
  int area = 0;           ///< pixels that it covers, those hidden by others too
  int visible = 0;        ///< pixels of it that are seen
};

namespace draw_detail {

/// Subpixels along a side of a pixel; edges have 16 levels.
inline constexpr int fineness = 4;
/// `fillPoly` takes coordinates with this many binary digits.
inline constexpr int fraction_bits = 4;

/// A square piece of picture that an object covers.
struct Patch {
  int left = 0;
  int top = 0;
  int side = 0;
  std::vector<std::uint8_t> coverage;  ///< [side, side], 0 to 255
  std::vector<Rgb> color;              ///< [side, side], where coverage is not 0
};

/// Each paint and, after them, its outline.
using Palette = std::array<Rgb, 2 * paint_count>;

[[nodiscard]] inline Rgb mixed(const Rgb& a, const Rgb& b, float share) {
  return {a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share};
}

[[nodiscard]] inline Palette palette_of(const Rgb& body) {
  constexpr Rgb black{24, 24, 28}, white{250, 250, 248};
  // A dark body has no darker variant to tell its parts apart, so it gets lighter ones.
  const bool dim = body[0] + body[1] + body[2] < 250;
  const std::array<Rgb, paint_count> paints{body,
                                            dim ? mixed(body, white, 0.22F) : mixed(body, black, 0.33F),
                                            mixed(body, white, dim ? 0.4F : 0.45F),
                                            Rgb{165, 170, 180},
                                            Rgb{165, 115, 70},
                                            Rgb{45, 45, 52},
                                            Rgb{236, 232, 220}};
  Palette palette;
  for (std::size_t i = 0; i < paints.size(); ++i) {
    palette[i] = paints[i];
    palette[paints.size() + i] = mixed(paints[i], black, 0.5F);
  }
  return palette;
}

/// Draws an object's parts, one over the other, into a square of subpixels of which `patch` tells the place.
/// @param value  the byte for the area (`edge` false) or the outline of a part: value(index of the part, edge)
template <class Value>
[[nodiscard]] cv::Mat draw_parts(const Shape& shape, const PlacedObject& object, const Patch& patch, Value value) {
  cv::Mat fine = cv::Mat::zeros(patch.side * fineness, patch.side * fineness, CV_8UC1);
  const cv::Point2d center(object.x - patch.left, object.y - patch.top);
  constexpr int one = 1 << fraction_bits;
  const double across = object.radius * fineness * std::cos(object.angle);
  const double down = object.radius * fineness * std::sin(object.angle);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    std::vector<std::vector<cv::Point>> outlines;
    for (const Outline& outline : shape[i].outlines) {
      std::vector<cv::Point>& points = outlines.emplace_back();
      points.reserve(outline.size());
      for (const cv::Point2d& point : outline)
        points.emplace_back(
            static_cast<int>(std::lround((center.x * fineness + across * point.x - down * point.y - 0.5) * one)),
            static_cast<int>(std::lround((center.y * fineness + down * point.x + across * point.y - 0.5) * one)));
    }
    cv::fillPoly(fine, outlines, value(i, false), cv::LINE_8, fraction_bits);
    cv::polylines(fine, outlines, true, value(i, true), fineness / 2, cv::LINE_8, fraction_bits);
  }
  return fine;
}

/// Averages subpixels to pixels.
inline void average(const cv::Mat& fine, const Palette& palette, Patch& patch) {
  constexpr auto white = static_cast<float>(1.0 / (fineness * fineness));
  for (int y = 0; y < patch.side; ++y)
    for (int x = 0; x < patch.side; ++x) {
      std::array<std::uint32_t, fineness> rows;
      for (int i = 0; i < fineness; ++i)
        std::memcpy(&rows[static_cast<std::size_t>(i)], fine.ptr(y * fineness + i) + x * fineness, sizeof(rows[0]));
      if ((rows[0] | rows[1] | rows[2] | rows[3]) == 0) continue;
      const std::size_t at =
          static_cast<std::size_t>(y) * static_cast<std::size_t>(patch.side) + static_cast<std::size_t>(x);
      const std::uint32_t first = rows[0] & 255;
      if (first * 0x01010101U == rows[0] && rows[0] == rows[1] && rows[0] == rows[2] && rows[0] == rows[3]) {
        patch.coverage[at] = 255;
        patch.color[at] = palette[first - 1];
        continue;
      }
      int count = 0;
      Rgb sum{};
      for (const std::uint32_t row : rows)
        for (int shift = 0; shift < 32; shift += 8) {
          const std::uint32_t index = row >> shift & 255;
          if (index == 0) continue;
          ++count;
          for (std::size_t c = 0; c < 3; ++c) sum[c] += palette[index - 1][c];
        }
      patch.coverage[at] = static_cast<std::uint8_t>(static_cast<float>(count) * white * 255.0F + 0.5F);
      for (std::size_t c = 0; c < 3; ++c) patch.color[at][c] = sum[c] / static_cast<float>(count);
    }
}

/// Every kind's shape, in the order of `kinds`.
[[nodiscard]] inline const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = [] {
    std::vector<Shape> made;
    for (const Kind& kind : kinds) made.push_back(kind.shape());
    return made;
  }();
  return all;
}

/// The place of an object's patch.
[[nodiscard]] inline Patch patch_of(const PlacedObject& object) {
  const int reach = static_cast<int>(std::ceil(object.radius * 1.35)) + 1;
  Patch patch;
  patch.left = static_cast<int>(std::floor(object.x)) - reach;
  patch.top = static_cast<int>(std::floor(object.y)) - reach;
  patch.side = 2 * reach + 1;
  return patch;
}

[[nodiscard]] inline Patch render(const PlacedObject& object, const Rgb& body) {
  Patch patch = patch_of(object);
  const auto count = static_cast<std::size_t>(patch.side) * static_cast<std::size_t>(patch.side);
  patch.coverage.resize(count);
  patch.color.resize(count);
  const Shape& shape = shapes()[object.kind];
  // A byte is 1 + the index into the palette.
  const cv::Mat fine = draw_parts(shape, object, patch, [&](std::size_t part, bool edge) {
    return 1 + static_cast<int>(shape[part].paint) + (edge ? paint_count : 0);
  });
  average(fine, palette_of(body), patch);
  return patch;
}

/// Calls `visit(pixel in the patch, pixel in the picture)` for every pixel that both have.
template <class Visit>
void for_each_common_pixel(const Patch& patch, ImageSize size, int shift_x, int shift_y, Visit visit) {
  const int left = patch.left + shift_x, top = patch.top + shift_y;
  for (int y = std::max(0, -top); y < patch.side && top + y < size.height; ++y)
    for (int x = std::max(0, -left); x < patch.side && left + x < size.width; ++x)
      visit(static_cast<std::size_t>(y) * static_cast<std::size_t>(patch.side) + static_cast<std::size_t>(x),
            static_cast<std::size_t>(top + y) * static_cast<std::size_t>(size.width) +
                static_cast<std::size_t>(left + x));
}

[[nodiscard]] inline std::uint8_t byte_of(float value) {
  return static_cast<std::uint8_t>(std::clamp(value, 0.0F, 255.0F) + 0.5F);
}

/// Darkens the picture where light from the upper left does not reach.
inline void cast_shadow(const Patch& patch, double radius, Image& picture) {
  const int shift = std::max(1, static_cast<int>(std::lround(radius * 0.13)));
  std::vector<std::uint8_t> soft(patch.coverage.size());
  const cv::Mat sharp_mat(patch.side, patch.side, CV_8UC1, const_cast<std::uint8_t*>(patch.coverage.data()));
  cv::Mat soft_mat(patch.side, patch.side, CV_8UC1, soft.data());
  cv::blur(sharp_mat, soft_mat, {2 * shift + 1, 2 * shift + 1}, {-1, -1}, cv::BORDER_CONSTANT);
  for_each_common_pixel(patch, picture.size(), shift, shift, [&](std::size_t from, std::size_t to) {
    if (soft[from] == 0) return;
    const int kept = 255 * 255 - 115 * soft[from];  // 0.45 of full light
    for (std::size_t c = 0; c < 3; ++c)
      picture.pixels[to * 3 + c] = static_cast<std::uint8_t>(picture.pixels[to * 3 + c] * kept / (255 * 255));
  });
}

}  // namespace draw_detail

/// Draws `object` with its shadow over `picture`, marks the pixels of which it covers at least half in `owners` as
/// `owner`, and sets the object's area. `owners` is [H, W] of the picture.
inline void draw_object(PlacedObject& object, const Rgb& body, std::uint8_t owner, Image& picture,
                        std::vector<std::uint8_t>& owners) {
  using namespace draw_detail;
  const Patch patch = render(object, body);
  cast_shadow(patch, object.radius, picture);
  object.area = static_cast<int>(
      std::count_if(patch.coverage.begin(), patch.coverage.end(), [](std::uint8_t value) { return value >= 128; }));
  for_each_common_pixel(patch, picture.size(), 0, 0, [&](std::size_t from, std::size_t to) {
    const std::uint8_t coverage = patch.coverage[from];
    if (coverage == 0) return;
    if (coverage >= 128) owners[to] = owner;
    const float share = static_cast<float>(coverage) / 255.0F;
    // Brighter towards the light in the upper left.
    const auto side = static_cast<float>(patch.side);
    const auto along =
        static_cast<float>(from % static_cast<std::size_t>(patch.side) + from / static_cast<std::size_t>(patch.side));
    const float light = 1.1F - 0.2F * along / (2 * side);
    for (std::size_t c = 0; c < 3; ++c) {
      const float under = picture.pixels[to * 3 + c];
      picture.pixels[to * 3 + c] = byte_of(under + (patch.color[from][c] * light - under) * share);
    }
  });
}

/// For each pixel of a picture of `size`, 1 + the index of the part of its shape that `object` shows there, were it
/// alone; 0 where it is not.
[[nodiscard]] inline std::vector<std::uint8_t> part_map(const PlacedObject& object, ImageSize size) {
  using namespace draw_detail;
  const Patch patch = patch_of(object);
  const cv::Mat fine = draw_parts(shapes()[object.kind], object, patch,
                                  [](std::size_t part, bool) { return 1 + static_cast<int>(part); });
  std::vector<std::uint8_t> parts(static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width));
  for_each_common_pixel(patch, size, 0, 0, [&](std::size_t from, std::size_t to) {
    const int x = static_cast<int>(from) % patch.side, y = static_cast<int>(from) / patch.side;
    std::array<int, 256> count{};
    int covered = 0;
    for (int i = 0; i < fineness; ++i)
      for (int j = 0; j < fineness; ++j) {
        const std::uint8_t part = fine.at<std::uint8_t>(y * fineness + i, x * fineness + j);
        ++count[part];
        covered += part != 0 ? 1 : 0;
      }
    if (2 * covered >= fineness * fineness)
      parts[to] = static_cast<std::uint8_t>(std::max_element(count.begin() + 1, count.end()) - count.begin());
  });
  return parts;
}

namespace draw_detail {

/// What the table is made of.
enum class Surface { plain, planks, gingham, marble, tiles };
inline constexpr int surface_count = 5;

/// Smooth noise in [-1, 1] over the unit square: `cells` random values along each side, bilinear between them.
class SmoothNoise {
 public:
  SmoothNoise(int cells, Random& random) : cells_(cells), values_(static_cast<std::size_t>((cells + 1) * (cells + 1))) {
    for (float& value : values_) value = static_cast<float>(random.uniform(-1, 1));
  }
  [[nodiscard]] float at(float x, float y) const {
    const float u = x * static_cast<float>(cells_), v = y * static_cast<float>(cells_);
    const int column = std::min(static_cast<int>(u), cells_ - 1), row = std::min(static_cast<int>(v), cells_ - 1);
    const float fx = u - static_cast<float>(column), fy = v - static_cast<float>(row);
    const float top = value(row, column) + (value(row, column + 1) - value(row, column)) * fx;
    const float bottom = value(row + 1, column) + (value(row + 1, column + 1) - value(row + 1, column)) * fx;
    return top + (bottom - top) * fy;
  }

 private:
  [[nodiscard]] float value(int row, int column) const {
    return values_[static_cast<std::size_t>(row * (cells_ + 1) + column)];
  }
  int cells_;
  std::vector<float> values_;
};

/// Relative brightness of the surface at a point of the unit square.
class SurfacePattern {
 public:
  explicit SurfacePattern(Random& random)
      : surface_(static_cast<Surface>(random.below(surface_count))),
        turned_(random.chance(0.5)),
        pieces_(static_cast<float>(random.between(3, 6))),
        depth_(static_cast<float>(random.uniform(0.05, 0.13))),
        slope_x_(static_cast<float>(random.uniform(-0.12, 0.12))),
        slope_y_(static_cast<float>(random.uniform(-0.12, 0.12))),
        coarse_(5, random),
        fine_(24, random) {}

  [[nodiscard]] float brightness(float x, float y) const {
    const float u = turned_ ? y : x, v = turned_ ? x : y;
    const float gradient = slope_x_ * (x - 0.5F) + slope_y_ * (y - 0.5F);
    return 1 + gradient + depth_ * relief(u, v);
  }

 private:
  [[nodiscard]] float relief(float u, float v) const {
    const float along = u * pieces_, across = v * pieces_;
    const int column = static_cast<int>(along), row = static_cast<int>(across);
    switch (surface_) {
      case Surface::plain:
        return 0.5F * coarse_.at(u, v);
      case Surface::planks: {
        const float seam = across - static_cast<float>(row) < 0.08F ? -2.0F : 0.0F;
        return seam + 0.5F * static_cast<float>(row % 2) + 0.7F * fine_.at(u * 0.12F, v);
      }
      case Surface::gingham:
        return static_cast<float>((static_cast<int>(2 * along) % 2) + (static_cast<int>(2 * across) % 2)) - 1;
      case Surface::marble:
        return 1.2F * std::sin(9 * (u + 0.4F * coarse_.at(u, v)) + 2 * fine_.at(u, v)) * (0.5F + v * 0.5F);
      case Surface::tiles: {
        const bool joint = along - static_cast<float>(column) < 0.07F || across - static_cast<float>(row) < 0.07F;
        return joint ? -1.5F : 0.4F * static_cast<float>((column + row) % 2) + 0.2F * fine_.at(u, v);
      }
    }
    return 0;
  }

  Surface surface_;
  bool turned_;
  float pieces_, depth_, slope_x_, slope_y_;
  SmoothNoise coarse_, fine_;
};

/// Muted colors, unlike those of the objects.
inline constexpr std::array<Rgb, 8> table_colors{{{196, 176, 146},
                                                  {158, 122, 88},
                                                  {122, 96, 76},
                                                  {150, 152, 150},
                                                  {112, 118, 126},
                                                  {168, 172, 156},
                                                  {126, 142, 144},
                                                  {178, 158, 158}}};

}  // namespace draw_detail

/// A tabletop without objects: wood, cloth, stone, tiles or plain, in a muted color, unevenly lit.
[[nodiscard]] inline Image draw_table(ImageSize size, Random& random) {
  using namespace draw_detail;
  Image picture = make_image(size);
  Rgb base = random.pick(table_colors);
  const double brighter = random.uniform(-16, 16);
  for (float& channel : base) channel += static_cast<float>(brighter + random.uniform(-6, 6));
  const SurfacePattern pattern(random);
  for (int y = 0; y < size.height; ++y) {
    std::uint8_t* out = picture.row(y);
    const float v = (static_cast<float>(y) + 0.5F) / static_cast<float>(size.height);
    for (int x = 0; x < size.width; ++x) {
      const float u = (static_cast<float>(x) + 0.5F) / static_cast<float>(size.width);
      const float brightness = pattern.brightness(u, v);
      for (std::size_t c = 0; c < 3; ++c) *out++ = byte_of(base[c] * brightness);
    }
  }
  return picture;
}

/// Adds the grain of a sensor: the same to the channels of a pixel, triangular, up to `amplitude` either way.
inline void add_grain(Image& picture, int amplitude, Random& random) {
  const std::size_t pixels = picture.pixels.size() / 3;
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < pixels; ++i) {
    if (i % 4 == 0) bits = random.bits();
    const int sum = static_cast<int>(bits & 255) + static_cast<int>(bits >> 8 & 255);
    bits >>= 16;
    const int grain = (sum - 255) * amplitude / 255;
    for (std::size_t c = 0; c < 3; ++c)
      picture.pixels[i * 3 + c] = static_cast<std::uint8_t>(std::clamp(picture.pixels[i * 3 + c] + grain, 0, 255));
  }
}

}  // namespace lisa::tabletop
