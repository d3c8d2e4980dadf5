#pragma once

#include <nlohmann/json.hpp>

#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"
#include "lisa/image/polygon.hpp"
#include "lisa/image/rle.hpp"

namespace lisa {

/// `{"size": [height, width], "counts": "..."}`, COCO's compressed run-length segmentation.
[[nodiscard]] inline nlohmann::json rle_json(const BitMask& mask) {
  const CocoRle rle = encode_rle(mask);
  return {{"size", {rle.size.height, rle.size.width}}, {"counts", compressed_counts(rle)}};
}

/// `[[x0, y0, x1, y1, ...], ...]`, COCO's polygon segmentation; holes are filled.
[[nodiscard]] inline nlohmann::json polygon_json(const BitMask& mask) {
  nlohmann::json polygons = nlohmann::json::array();
  for (const Polygon& polygon : mask_polygons(mask).outer) polygons.push_back(polygon);
  return polygons;
}

/// `[x, y, width, height]`, COCO's bounding box.
[[nodiscard]] inline nlohmann::json box_json(const Rect& box) { return {box.x, box.y, box.width, box.height}; }

}  // namespace lisa
