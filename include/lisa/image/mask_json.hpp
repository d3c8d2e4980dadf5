#pragma once

#include "lisa/files/json.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"
#include "lisa/image/polygon.hpp"
#include "lisa/image/rle.hpp"

namespace lisa {

/// `{"counts": "...", "size": [height, width]}`, COCO's compressed run-length segmentation.
[[nodiscard]] inline Json rle_json(const BitMask& mask) {
  const CocoRle rle = encode_rle(mask);
  return {{"counts", compressed_counts(rle)}, {"size", {rle.size.height, rle.size.width}}};
}

/// `[[x0, y0, x1, y1, ...], ...]`, COCO's polygon segmentation; holes are filled.
[[nodiscard]] inline Json polygon_json(const BitMask& mask) {
  Json polygons = Json::array();
  for (const Polygon& polygon : mask_polygons(mask).outer) polygons.push_back(polygon);
  return polygons;
}

/// `[x, y, width, height]`, COCO's bounding box.
[[nodiscard]] inline Json box_json(const Rect& box) { return {box.x, box.y, box.width, box.height}; }

}  // namespace lisa
