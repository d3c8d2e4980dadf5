#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lisa/data/tabletop/draw.hpp"
#include "lisa/data/tabletop/kinds.hpp"
#include "lisa/data/tabletop/pictures.hpp"
#include "lisa/data/tabletop/shapes.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/image/mask.hpp"

namespace lisa::tabletop {

namespace parts_detail {

/// Names of categories: "mug", then "mug:handle" for each part that has a name.
struct Categories {
  std::vector<std::string> names;
  std::vector<std::size_t> of_kind;               ///< index of each kind's
  std::vector<std::vector<std::size_t>> of_part;  ///< of each part of each kind; the kind's own where it has no name
};

[[nodiscard]] inline Categories categories() {
  Categories result;
  for (const Kind& kind : kinds) {
    const std::size_t whole = result.names.size();
    result.of_kind.push_back(whole);
    result.names.emplace_back(kind.name);
    std::vector<std::size_t>& parts = result.of_part.emplace_back();
    for (const ShapePart& part : kind.shape()) {
      parts.push_back(part.name.empty() ? whole : result.names.size());
      if (!part.name.empty()) result.names.push_back(std::string(kind.name) + ":" + std::string(part.name));
    }
  }
  return result;
}

/// Where part `part` of an object is seen.
[[nodiscard]] inline BitMask part_mask(const Picture& picture, std::size_t object, const std::vector<std::uint8_t>& map,
                                       std::size_t part) {
  BitMask mask(picture.size());
  std::size_t pixel = 0;
  for (int y = 0; y < mask.height(); ++y)
    for (int x = 0; x < mask.width(); ++x, ++pixel)
      if (map[pixel] == part + 1 && picture.scene().owners[pixel] == object + 1) mask.set(x, y);
  return mask;
}

/// Annotations of a picture's objects and of their parts that are seen with at least `least` pixels.
inline void append_annotations(const Picture& picture, const Categories& categories, Json& annotations) {
  constexpr std::int64_t least = 6;
  for (std::size_t i = 0; i < picture.objects.size(); ++i) {
    const PlacedObject& object = picture.scene().objects[i];
    const BitMask& whole = picture.objects[i];
    annotations.push_back(
        annotation_json(object_id(picture, i), picture, categories.of_kind[object.kind], whole, outline_json(whole)));
    const std::vector<std::uint8_t> map = part_map(object, picture.size());
    const std::vector<std::size_t>& parts = categories.of_part[object.kind];
    for (std::size_t p = 0; p < parts.size(); ++p) {
      if (parts[p] == categories.of_kind[object.kind]) continue;
      const BitMask mask = part_mask(picture, i, map, p);
      if (area(mask) < least) continue;
      annotations.push_back(annotation_json(object_id(picture, i, p + 1), picture, parts[p], mask, outline_json(mask)));
    }
  }
}

/// The annotation file of one split.
/// @param folder  what stands before a picture's name in the file
[[nodiscard]] inline Json objects_json(const std::vector<Picture>& pictures, bool training, const std::string& folder) {
  const Categories categories = parts_detail::categories();
  Json file = Json::object();
  file["images"] = Json::array();
  file["annotations"] = Json::array();
  file["categories"] = Json::array();
  for (const Picture& picture : pictures) {
    if (picture.training != training) continue;
    file["images"].push_back(image_json(picture, folder + picture.file_name()));
    append_annotations(picture, categories, file["annotations"]);
  }
  for (std::size_t i = 0; i < categories.names.size(); ++i) {
    Json& category = file["categories"].emplace_back(Json::object());
    category["id"] = i + 1;
    category["name"] = categories.names[i];
  }
  return file;
}

}  // namespace parts_detail

/// PACO-LVIS's layout below `root`: objects and parts of the pictures that `write_coco_stuff` writes.
inline void write_paco_lvis(const std::filesystem::path& root, const std::vector<Picture>& pictures) {
  const std::filesystem::path folder = root / "vlpart" / "paco" / "annotations";
  write_json(folder / "paco_lvis_v1_train.json", parts_detail::objects_json(pictures, true, "train2017/"));
  write_json(folder / "paco_lvis_v1_val.json", parts_detail::objects_json(pictures, false, "val2017/"));
}

/// PASCAL-Part's layout.
inline void write_pascal_part(const std::filesystem::path& root, const std::vector<Picture>& pictures) {
  const std::filesystem::path folder = root / "vlpart" / "pascal_part";
  const std::filesystem::path images = made_folder(folder / "VOCdevkit" / "VOC2010" / "JPEGImages");
  for (const Picture& picture : pictures) write_file(images / picture.file_name(), picture.jpeg);
  write_json(folder / "train.json", parts_detail::objects_json(pictures, true, ""));
  write_json(folder / "val.json", parts_detail::objects_json(pictures, false, ""));
}

}  // namespace lisa::tabletop
