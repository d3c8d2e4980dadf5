#pragma once

#include <cmath>
#include <initializer_list>
#include <numbers>
#include <opencv2/core.hpp>
#include <string_view>
#include <utility>
#include <vector>

namespace lisa::tabletop {

/// What a part of an object is painted with: the object's own color, a variant of it, or a fixed material.
enum class Paint { body, dark, light, metal, wood, black, paper };
inline constexpr int paint_count = 7;

/// A closed outline in the object's own coordinates: x to the right, y down, the object within about [-1, 1].
using Outline = std::vector<cv::Point2d>;

/// A painted area. What lies within an even number of its outlines is open: the handle of a mug.
struct ShapePart {
  Paint paint = Paint::body;
  std::vector<Outline> outlines;
  std::string_view name{};  ///< "handle"; empty where there is no word for it
};

/// Parts of an object, from the back to the front.
using Shape = std::vector<ShapePart>;

namespace shape_detail {

inline constexpr double pi = std::numbers::pi;

/// Part of an ellipse from angle `from` to angle `to` in radians, clockwise on the screen, 0 to the right.
[[nodiscard]] inline Outline arc(double x, double y, double radius_x, double radius_y, double from, double to) {
  constexpr int steps = 20;
  Outline points;
  for (int i = 0; i <= steps; ++i) {
    const double angle = from + (to - from) * i / steps;
    points.emplace_back(x + radius_x * std::cos(angle), y + radius_y * std::sin(angle));
  }
  return points;
}
[[nodiscard]] inline Outline ellipse(double x, double y, double radius_x, double radius_y) {
  return arc(x, y, radius_x, radius_y, 0, 2 * pi);
}
[[nodiscard]] inline Outline circle(double x, double y, double radius) { return ellipse(x, y, radius, radius); }
[[nodiscard]] inline Outline box(double left, double top, double right, double bottom) {
  return {{left, top}, {right, top}, {right, bottom}, {left, bottom}};
}
/// One outline after the other.
[[nodiscard]] inline Outline joined(Outline first, const Outline& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}
/// A curved band between two radii.
[[nodiscard]] inline Outline band(double x, double y, double outer, double inner, double from, double to) {
  return joined(arc(x, y, outer, outer, from, to), arc(x, y, inner, inner, to, from));
}
/// A straight band from one point to another.
[[nodiscard]] inline Outline bar(cv::Point2d from, cv::Point2d to, double width) {
  const cv::Point2d along = to - from;
  const cv::Point2d across = cv::Point2d(-along.y, along.x) * (width / 2 / std::hypot(along.x, along.y));
  return {from + across, to + across, to - across, from - across};
}
[[nodiscard]] inline ShapePart part(Paint paint, Outline outline, std::string_view name = {}) {
  return {paint, {std::move(outline)}, name};
}
[[nodiscard]] inline ShapePart ring(Paint paint, Outline outer, Outline inner, std::string_view name = {}) {
  return {paint, {std::move(outer), std::move(inner)}, name};
}

}  // namespace shape_detail

[[nodiscard]] inline Shape mug_shape() {
  using namespace shape_detail;
  return {ring(Paint::body, ellipse(0.4, 0.05, 0.58, 0.52), ellipse(0.42, 0.05, 0.3, 0.26), "handle"),
          part(Paint::body, {{-0.85, -0.8}, {0.45, -0.8}, {0.42, 0.7}, {0.25, 0.85}, {-0.65, 0.85}, {-0.82, 0.7}}),
          part(Paint::dark, ellipse(-0.2, -0.74, 0.62, 0.2))};
}

[[nodiscard]] inline Shape bottle_shape() {
  using namespace shape_detail;
  return {part(Paint::body, {{-0.17, -0.8},
                             {0.17, -0.8},
                             {0.17, -0.42},
                             {0.45, -0.1},
                             {0.45, 1},
                             {-0.45, 1},
                             {-0.45, -0.1},
                             {-0.17, -0.42}}),
          part(Paint::paper, box(-0.45, 0.2, 0.45, 0.62), "label"),
          part(Paint::black, box(-0.23, -1.05, 0.23, -0.74), "cap")};
}

[[nodiscard]] inline Shape goblet_shape() {
  using namespace shape_detail;
  return {part(Paint::body, box(-0.11, 0.1, 0.11, 0.9)), part(Paint::body, ellipse(0, 0.86, 0.6, 0.17), "foot"),
          part(Paint::body, joined({{0.66, -0.95}}, joined(arc(0, -0.35, 0.66, 0.6, 0, pi), {{-0.66, -0.95}}))),
          part(Paint::light, ellipse(0, -0.93, 0.66, 0.15))};
}

[[nodiscard]] inline Shape teapot_shape() {
  using namespace shape_detail;
  return {ring(Paint::body, ellipse(0.6, 0.1, 0.48, 0.48), ellipse(0.62, 0.1, 0.25, 0.26), "handle"),
          part(Paint::body, {{-0.45, 0.5}, {-0.95, -0.1}, {-1.1, -0.45}, {-0.82, -0.5}, {-0.45, -0.02}}, "spout"),
          part(Paint::body, ellipse(0, 0.2, 0.66, 0.62)), part(Paint::dark, ellipse(0, -0.36, 0.4, 0.16), "lid"),
          part(Paint::dark, circle(0, -0.58, 0.15))};
}

[[nodiscard]] inline Shape pan_shape() {
  using namespace shape_detail;
  return {part(Paint::black, bar({0.1, -0.1}, {0.98, -0.98}, 0.26), "handle"),
          part(Paint::body, circle(-0.25, 0.25, 0.72)), part(Paint::dark, circle(-0.25, 0.25, 0.5))};
}

[[nodiscard]] inline Shape fork_shape() {
  using namespace shape_detail;
  return {part(Paint::body, {{-0.55, -1},
                             {-0.35, -1},
                             {-0.33, -0.42},
                             {-0.1, -0.42},
                             {-0.1, -1},
                             {0.1, -1},
                             {0.1, -0.42},
                             {0.33, -0.42},
                             {0.35, -1},
                             {0.55, -1},
                             {0.55, -0.25},
                             {0.2, 0.02},
                             {0.2, 1},
                             {-0.2, 1},
                             {-0.2, 0.02},
                             {-0.55, -0.25}})};
}

[[nodiscard]] inline Shape basket_shape() {
  using namespace shape_detail;
  return {part(Paint::body, band(0, 0, 0.82, 0.6, pi, 2 * pi), "handle"),
          part(Paint::body, {{-0.95, 0}, {0.95, 0}, {0.66, 0.85}, {-0.66, 0.85}}),
          part(Paint::dark, {{-0.88, 0.22}, {0.88, 0.22}, {0.83, 0.38}, {-0.83, 0.38}}),
          part(Paint::dark, {{-0.79, 0.54}, {0.79, 0.54}, {0.73, 0.68}, {-0.73, 0.68}})};
}

[[nodiscard]] inline Shape key_shape() {
  using namespace shape_detail;
  return {part(Paint::body, box(-0.25, -0.16, 1, 0.16)), part(Paint::body, box(0.78, 0.1, 1, 0.6)),
          part(Paint::body, box(0.38, 0.1, 0.6, 0.52)), ring(Paint::body, circle(-0.52, 0, 0.5), circle(-0.6, 0, 0.2))};
}

[[nodiscard]] inline Shape hammer_shape() {
  using namespace shape_detail;
  return {part(Paint::body, box(-0.21, -0.4, 0.21, 1), "handle"),
          part(Paint::metal, {{-0.78, -0.95}, {0.4, -0.95}, {0.88, -0.55}, {0.8, -0.42}, {0.3, -0.45}, {-0.78, -0.35}},
               "head")};
}

[[nodiscard]] inline Shape pencil_shape() {
  using namespace shape_detail;
  return {part(Paint::body, box(-0.6, -0.28, 0.6, 0.28)),
          part(Paint::light, box(-0.6, -0.1, 0.6, 0.1)),
          part(Paint::metal, box(-0.76, -0.28, -0.56, 0.28)),
          part(Paint::black, box(-1, -0.28, -0.76, 0.28), "eraser"),
          part(Paint::wood, {{0.6, -0.28}, {1, -0.04}, {1, 0.04}, {0.6, 0.28}}, "tip"),
          part(Paint::black, {{0.88, -0.1}, {1.1, 0}, {0.88, 0.1}})};
}

[[nodiscard]] inline Shape book_shape() {
  using namespace shape_detail;
  return {part(Paint::paper, box(-0.6, -0.8, 0.72, 0.92)), part(Paint::body, box(-0.7, -0.92, 0.6, 0.8)),
          part(Paint::dark, box(-0.7, -0.92, -0.42, 0.8)), part(Paint::paper, box(-0.2, -0.62, 0.4, -0.28), "label")};
}

[[nodiscard]] inline Shape letter_shape() {
  using namespace shape_detail;
  return {part(Paint::body, box(-1, -0.62, 1, 0.62)), part(Paint::light, {{-1, -0.62}, {1, -0.62}, {0, 0.2}}),
          part(Paint::black, circle(0, 0.16, 0.17), "seal")};
}

[[nodiscard]] inline Shape ball_shape() {
  using namespace shape_detail;
  return {part(Paint::body, circle(0, 0, 0.82)),
          part(Paint::paper, joined(arc(-0.9, 0, 0.62, 0.62, -0.75, 0.75), arc(-0.9, 0, 0.4, 0.4, 0.95, -0.95))),
          part(Paint::paper,
               joined(arc(0.9, 0, 0.62, 0.62, pi - 0.75, pi + 0.75), arc(0.9, 0, 0.4, 0.4, pi + 0.95, pi - 0.95)))};
}

[[nodiscard]] inline Shape clock_shape() {
  using namespace shape_detail;
  return {part(Paint::dark, bar({-0.3, 0.4}, {-0.62, 0.98}, 0.26)),
          part(Paint::dark, bar({0.3, 0.4}, {0.62, 0.98}, 0.26)),
          part(Paint::dark, ellipse(-0.55, -0.68, 0.32, 0.28)),
          part(Paint::dark, ellipse(0.55, -0.68, 0.32, 0.28)),
          part(Paint::body, circle(0, 0.08, 0.78)),
          part(Paint::paper, circle(0, 0.08, 0.48), "face"),
          part(Paint::black, bar({0, 0.1}, {0, -0.32}, 0.12)),
          part(Paint::black, bar({-0.04, 0.08}, {0.3, 0.08}, 0.12))};
}

[[nodiscard]] inline Shape lamp_shape() {
  using namespace shape_detail;
  return {part(Paint::metal, box(-0.11, -0.1, 0.11, 0.8)), part(Paint::metal, ellipse(0, 0.82, 0.5, 0.18), "foot"),
          part(Paint::body, {{-0.38, -0.95}, {0.38, -0.95}, {0.85, 0.1}, {-0.85, 0.1}}, "shade"),
          part(Paint::light, {{-0.8, -0.03}, {0.8, -0.03}, {0.85, 0.1}, {-0.85, 0.1}})};
}

[[nodiscard]] inline Shape umbrella_shape() {
  using namespace shape_detail;
  return {
      part(Paint::wood, box(-0.09, -0.2, 0.09, 0.75)), part(Paint::wood, band(0.2, 0.72, 0.29, 0.11, 0, pi), "handle"),
      part(Paint::body,
           joined(arc(0, 0.02, 1, 0.95, pi, 2 * pi),
                  {{0.8, -0.1}, {0.6, 0.02}, {0.33, -0.13}, {0, 0.02}, {-0.33, -0.13}, {-0.6, 0.02}, {-0.8, -0.1}})),
      part(Paint::light, {{0, -0.93}, {0.33, -0.13}, {0, 0.02}, {-0.33, -0.13}})};
}

[[nodiscard]] inline Shape boot_shape() {
  using namespace shape_detail;
  return {part(Paint::body, joined({{-0.62, -0.95}, {0.2, -0.95}, {0.2, 0.05}},
                                   joined(arc(0.45, 0.42, 0.5, 0.34, -1.3, 0.6), {{0.85, 0.66}, {-0.62, 0.66}}))),
          part(Paint::black, box(-0.66, 0.64, 0.95, 0.9), "sole"), part(Paint::light, box(-0.66, -0.98, 0.25, -0.68))};
}

[[nodiscard]] inline Shape hat_shape() {
  using namespace shape_detail;
  return {part(Paint::body, ellipse(0, 0.45, 1.05, 0.27)),
          part(Paint::body, joined(arc(0, -0.1, 0.58, 0.62, pi, 2 * pi), {{0.6, 0.5}, {-0.6, 0.5}})),
          part(Paint::black, {{-0.6, 0.14}, {0.6, 0.14}, {0.6, 0.4}, {-0.6, 0.4}}, "band")};
}

[[nodiscard]] inline Shape shirt_shape() {
  using namespace shape_detail;
  return {part(Paint::body, {{-0.35, -0.85},
                             {-0.15, -0.68},
                             {0.15, -0.68},
                             {0.35, -0.85},
                             {1.05, -0.45},
                             {0.85, -0.02},
                             {0.55, -0.15},
                             {0.55, 0.9},
                             {-0.55, 0.9},
                             {-0.55, -0.15},
                             {-0.85, -0.02},
                             {-1.05, -0.45}}),
          part(Paint::dark, box(0.1, -0.3, 0.4, 0.05), "pocket")};
}

[[nodiscard]] inline Shape guitar_shape() {
  using namespace shape_detail;
  return {part(Paint::wood, box(-0.11, -0.85, 0.11, 0.2), "neck"),
          part(Paint::black, box(-0.2, -1.1, 0.2, -0.8)),
          part(Paint::body, circle(0, 0.1, 0.42)),
          part(Paint::body, ellipse(0, 0.55, 0.6, 0.48)),
          part(Paint::black, circle(0, 0.3, 0.19)),
          part(Paint::black, box(-0.26, 0.68, 0.26, 0.8))};
}

[[nodiscard]] inline Shape camera_shape() {
  using namespace shape_detail;
  return {part(Paint::dark, {{-0.4, -0.45}, {-0.28, -0.75}, {0.28, -0.75}, {0.4, -0.45}}),
          part(Paint::black, box(-0.85, -0.62, -0.55, -0.45)),
          part(Paint::body, box(-1, -0.5, 1, 0.65)),
          part(Paint::black, circle(0, 0.08, 0.48)),
          part(Paint::metal, circle(0, 0.08, 0.24), "lens"),
          part(Paint::paper, box(0.62, -0.36, 0.86, -0.16))};
}

[[nodiscard]] inline Shape magnet_shape() {
  using namespace shape_detail;
  return {part(Paint::body,
               joined(joined({{0.85, -0.5}}, arc(0, 0.1, 0.85, 0.8, 0, pi)),
                      joined({{-0.85, -0.5}, {-0.38, -0.5}}, joined(arc(0, 0.1, 0.38, 0.34, pi, 0), {{0.38, -0.5}})))),
          part(Paint::metal, box(-0.85, -0.9, -0.38, -0.42)), part(Paint::metal, box(0.38, -0.9, 0.85, -0.42))};
}

[[nodiscard]] inline Shape kite_shape() {
  using namespace shape_detail;
  return {part(Paint::body, bar({0.0, 0.4}, {0.22, 0.72}, 0.12)),
          part(Paint::body, bar({0.22, 0.68}, {-0.05, 1.05}, 0.12)),
          part(Paint::dark, {{0.0, 0.62}, {0.45, 0.58}, {0.45, 0.85}, {0.0, 0.75}}, "tail"),
          part(Paint::body, {{0, -1.05}, {0.72, -0.32}, {0, 0.5}, {-0.72, -0.32}}),
          part(Paint::light, {{0, -1.05}, {0.72, -0.32}, {0, -0.32}}),
          part(Paint::light, {{0, 0.5}, {-0.72, -0.32}, {0, -0.32}})};
}

[[nodiscard]] inline Shape crown_shape() {
  using namespace shape_detail;
  return {part(Paint::body,
               {{-0.8, 0.75}, {-0.95, -0.55}, {-0.48, 0.05}, {0, -0.8}, {0.48, 0.05}, {0.95, -0.55}, {0.8, 0.75}}),
          part(Paint::light, circle(-0.93, -0.6, 0.15)), part(Paint::light, circle(0, -0.82, 0.15)),
          part(Paint::light, circle(0.93, -0.6, 0.15)), part(Paint::dark, box(-0.8, 0.42, 0.8, 0.62))};
}

}  // namespace lisa::tabletop
