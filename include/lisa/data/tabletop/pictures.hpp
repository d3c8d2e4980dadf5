#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/tabletop/data_set.hpp"
#include "lisa/data/tabletop/phrases.hpp"
#include "lisa/data/tabletop/scene.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/image/edge_polygon.hpp"
#include "lisa/image/encode_jpeg.hpp"
#include "lisa/image/mask.hpp"
#include "lisa/image/mask_json.hpp"

namespace lisa::tabletop {

/// A scene that is written into data sets.
struct Picture {
  std::int64_t number = 0;  ///< from 1, unlike that of any other picture
  std::string stem;         ///< "000000000042"
  bool training = true;     ///< else validation
  AskedScene asked;
  QuestionStyle style;
  std::vector<BitMask> objects;  ///< what is seen of each
  std::string jpeg;              ///< the picture as a file

  [[nodiscard]] const Scene& scene() const { return asked.scene; }
  [[nodiscard]] ImageSize size() const { return asked.scene.image.size(); }
  [[nodiscard]] std::string file_name() const { return stem + ".jpg"; }
};

/// A stream for what is written about a picture into the data set `set`.
[[nodiscard]] inline Random picture_random(const Picture& picture, std::uint64_t set) {
  return Random{static_cast<std::uint64_t>(picture.number), set};
}

/// Adds the scenes of `settings` to `pictures`.
inline void add_pictures(const TabletopSettings& settings, bool training, std::vector<Picture>& pictures) {
  for (std::size_t index = 0; index < settings.scenes; ++index) {
    Picture picture;
    picture.number = static_cast<std::int64_t>(pictures.size()) + 1;
    picture.stem = std::to_string(picture.number);
    picture.stem.insert(0, 12 - std::min<std::size_t>(12, picture.stem.size()), '0');
    picture.training = training;
    picture.asked = asked_scene(settings, index);
    picture.style = data_set_detail::style_of(settings);
    for (std::size_t i = 0; i < picture.scene().objects.size(); ++i)
      picture.objects.push_back(foreground(mask_of(picture.scene(), {i})));
    const std::vector<std::uint8_t> jpeg = encode_jpeg(picture.scene().image);
    picture.jpeg.assign(jpeg.begin(), jpeg.end());
    pictures.push_back(std::move(picture));
  }
}

/// Makes a folder and those above it. @throws IoError
inline std::filesystem::path made_folder(const std::filesystem::path& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code) throw IoError(shown_path(folder), "", "cannot be made: " + code.message());
  return folder;
}

/// Writes a JSON file, its folder made. @throws IoError
inline void write_json(const std::filesystem::path& path, const Json& value) {
  made_folder(path.parent_path());
  write_file(path, value.dump());
}

/// `[x, y, ...]` for each part of a mask, outlines that are filled to the very mask, or run lengths where it has holes.
[[nodiscard]] inline Json outline_json(const BitMask& mask) {
  const MaskPolygons polygons = edge_polygons(mask);
  if (polygons.has_holes) return rle_json(mask);
  Json outlines = Json::array();
  for (const Polygon& outline : polygons.outer) outlines.push_back(outline);
  return outlines;
}

/// A COCO annotation.
[[nodiscard]] inline Json annotation_json(std::int64_t id, const Picture& picture, std::size_t category,
                                          const BitMask& mask, Json segmentation) {
  Json annotation;
  annotation["id"] = id;
  annotation["image_id"] = picture.number;
  annotation["category_id"] = category + 1;
  annotation["segmentation"] = std::move(segmentation);
  annotation["area"] = area(mask);
  annotation["bbox"] = box_json(bounding_box(mask));
  annotation["iscrowd"] = 0;
  return annotation;
}

/// A COCO image.
[[nodiscard]] inline Json image_json(const Picture& picture, const std::string& file_name) {
  Json image;
  image["id"] = picture.number;
  image["file_name"] = file_name;
  image["height"] = picture.size().height;
  image["width"] = picture.size().width;
  return image;
}

/// Ids of the annotations of a picture's objects; there is room for their parts.
[[nodiscard]] inline std::int64_t object_id(const Picture& picture, std::size_t object, std::size_t part = 0) {
  constexpr std::int64_t objects = 8, parts = 32;
  return (picture.number * objects + static_cast<std::int64_t>(object)) * parts + static_cast<std::int64_t>(part);
}

}  // namespace lisa::tabletop
