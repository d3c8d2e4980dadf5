#pragma once

#include <cstddef>
#include <cstdint>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>
#include <vector>

#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"

namespace lisa {

/// A closed outline x0, y0, x1, y1 ... in COCO's convention: the centre of the upper left pixel is (0.5, 0.5).
using Polygon = std::vector<float>;

/// Outlines of a mask's parts.
struct MaskPolygons {
  std::vector<Polygon> outer;  ///< one per connected part, through the centres of its border pixels; >= 3 points each
  bool has_holes = false;      ///< a part has a hole, which COCO's polygons cannot express
};

/// Border pixels of the connected parts of a mask (8-connected), straight runs reduced to their ends.
struct MaskContours {
  std::vector<std::vector<cv::Point>> outer;  ///< one per part
  std::vector<std::vector<cv::Point>> holes;  ///< one per hole, on the pixels around it
};

/// Traces the borders of `mask`.
[[nodiscard]] inline MaskContours mask_contours(const BitMask& mask) {
  const Rect box = bounding_box(mask);
  if (box.width == 0) return {};
  std::vector<std::uint8_t> bytes = mask_bytes(mask);
  const cv::Mat whole(mask.height(), mask.width(), CV_8UC1, bytes.data());
  std::vector<std::vector<cv::Point>> contours;
  std::vector<cv::Vec4i> hierarchy;  // next, previous, first child, parent
  cv::findContours(whole(cv::Rect(box.x, box.y, box.width, box.height)), contours, hierarchy, cv::RETR_CCOMP,
                   cv::CHAIN_APPROX_SIMPLE, {box.x, box.y});
  MaskContours result;
  for (std::size_t i = 0; i < contours.size(); ++i)
    (hierarchy[i][3] >= 0 ? result.holes : result.outer).push_back(std::move(contours[i]));
  return result;
}

/// The outlines of `mask` in COCO's polygon form. A part too thin to have three border points is given as the rectangle
/// of its pixels, so that no part is lost.
[[nodiscard]] inline MaskPolygons mask_polygons(const BitMask& mask) {
  const MaskContours contours = mask_contours(mask);
  MaskPolygons result;
  result.has_holes = !contours.holes.empty();
  for (const std::vector<cv::Point>& contour : contours.outer) {
    Polygon polygon;
    if (contour.size() < 3) {
      const cv::Rect box = cv::boundingRect(contour);
      const auto left = static_cast<float>(box.x), top = static_cast<float>(box.y);
      const auto right = static_cast<float>(box.x + box.width), bottom = static_cast<float>(box.y + box.height);
      polygon = {left, top, right, top, right, bottom, left, bottom};
    } else {
      polygon.reserve(contour.size() * 2);
      for (const cv::Point& point : contour) {
        polygon.push_back(static_cast<float>(point.x) + 0.5F);
        polygon.push_back(static_cast<float>(point.y) + 0.5F);
      }
    }
    result.outer.push_back(std::move(polygon));
  }
  return result;
}

}  // namespace lisa
