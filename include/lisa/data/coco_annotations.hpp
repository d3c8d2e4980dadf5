#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lisa/data/segmentation.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/json_items.hpp"

namespace lisa {

/// An image that annotations refer to.
struct CocoImage {
  std::int64_t id = 0;
  std::string file_name;
  ImageSize size;
};

struct CocoCategory {
  std::int64_t id = 0;
  std::string name;
};

/// An annotated object.
struct CocoAnnotation {
  std::int64_t id = 0;
  std::size_t image = 0;     ///< index in CocoAnnotations::images
  std::size_t category = 0;  ///< index in CocoAnnotations::categories
  bool crowd = false;
  CocoSegmentation segmentation;
};

/// The content of a COCO instances file, checked: every reference leads somewhere, ids are unique, run lengths have the
/// size of their image.
struct CocoAnnotations {
  std::string file;  ///< as shown in messages
  std::vector<CocoImage> images;
  std::vector<CocoCategory> categories;
  std::vector<CocoAnnotation> annotations;  ///< all in the order of the file
  std::size_t dropped_polygons = 0;         ///< of one or two points, which enclose nothing
};

/// What a COCO file may hold beyond the format.
struct CocoRules {
  /// An object without any outline is read as an empty one, as LISA does with referring data.
  bool empty_segmentations = false;
  ImageLimits images{};
};

namespace detail {

/// Collects images, categories and annotations item by item, then resolves what they refer to.
class CocoReader {
 public:
  CocoReader(std::string file, const CocoRules& rules) : defects_(std::move(file)), rules_(rules) {}

  void add(std::string_view member, std::size_t index, const Json& value) {
    const std::string place = std::string(member) + "[" + std::to_string(index) + "]";
    if (!value.is_object()) return defects_.add(place, found_expected(json_in_words(value), "an object"));
    if (member == "images")
      add_image(place, value);
    else if (member == "categories")
      add_category(place, value);
    else
      add_annotation(place, value);
  }

  [[nodiscard]] CocoAnnotations finish(const std::vector<JsonMember>& members) {
    for (const std::string_view name : {"images", "annotations", "categories"}) require_array(members, name);
    defects_.throw_if_any();  // references to what could not be read would only repeat it
    resolve();
    defects_.throw_if_any();
    result_.file = defects_.file();
    return std::move(result_);
  }

 private:
  void require_array(const std::vector<JsonMember>& members, std::string_view name) {
    for (const JsonMember& member : members) {
      if (member.name != name) continue;
      if (!member.is_array) defects_.add(std::string(name), "found another value, expected an array");
      return;
    }
    defects_.add(std::string(name), "missing, expected an array");
  }

  /// A whole number, exact to 64 bits.
  [[nodiscard]] std::optional<std::int64_t> whole(const std::string& place, const Json& object, const char* name,
                                                  std::int64_t lowest = INT64_MIN) {
    const auto value = object.find(name);
    const std::string field = place + "." + name;
    if (value == object.end()) {
      defects_.add(field, "missing, expected a whole number");
      return std::nullopt;
    }
    const bool fits = value->is_number_integer() &&
                      !(value->is_number_unsigned() && value->get<std::uint64_t>() > std::uint64_t{INT64_MAX});
    if (!fits || value->get<std::int64_t>() < lowest) {
      defects_.add(field, found_expected(json_in_words(*value), lowest == INT64_MIN
                                                                    ? "a whole number"
                                                                    : "a whole number from " + std::to_string(lowest)));
      return std::nullopt;
    }
    return value->get<std::int64_t>();
  }

  [[nodiscard]] std::optional<std::string> text(const std::string& place, const Json& object, const char* name) {
    const auto value = object.find(name);
    if (value != object.end() && value->is_string() && !value->get_ref<const std::string&>().empty())
      return value->get<std::string>();
    defects_.add(place + "." + name, value == object.end()
                                         ? "missing, expected a string"
                                         : found_expected(json_in_words(*value), "a string that is not empty"));
    return std::nullopt;
  }

  void add_image(const std::string& place, const Json& value) {
    const auto id = whole(place, value, "id");
    const auto height = whole(place, value, "height", 1), width = whole(place, value, "width", 1);
    auto name = text(place, value, "file_name");
    if (!id || !height || !width || !name) return;
    try {
      const ImageSize size = checked_size({}, place, *width, *height, rules_.images);
      if (!images_.emplace(*id, result_.images.size()).second)
        return defects_.add(place, found_expected("image id " + std::to_string(*id) + " twice", "once"));
      result_.images.push_back({*id, std::move(*name), size});
    } catch (const Error& error) {
      defects_.add(place, error.message());
    }
  }

  void add_category(const std::string& place, const Json& value) {
    const auto id = whole(place, value, "id");
    auto name = text(place, value, "name");
    if (!id || !name) return;
    if (!categories_.emplace(*id, result_.categories.size()).second)
      return defects_.add(place, found_expected("category id " + std::to_string(*id) + " twice", "once"));
    result_.categories.push_back({*id, std::move(*name)});
  }

  void add_annotation(const std::string& place, const Json& value) {
    const auto id = whole(place, value, "id"), image = whole(place, value, "image_id"),
               category = whole(place, value, "category_id");
    check_box(place, value);
    const bool crowd = read_crowd(place, value);
    std::optional<CocoSegmentation> outline = read_segmentation(place, value, crowd);
    if (!id || !image || !category || !outline) return;
    if (!annotation_ids_.emplace(*id, result_.annotations.size()).second)
      return defects_.add(place, found_expected("annotation id " + std::to_string(*id) + " twice", "once"));
    result_.dropped_polygons += outline->dropped_polygons;
    result_.annotations.push_back({*id, 0, 0, crowd, std::move(*outline)});
    references_.push_back({*image, *category});
  }

  void check_box(const std::string& place, const Json& value) {
    const auto box = value.find("bbox");
    if (box == value.end()) return;
    bool valid = box->is_array() && box->size() == 4;
    for (std::size_t i = 0; valid && i < 4; ++i)
      valid =
          (*box)[i].is_number() && std::isfinite((*box)[i].get<double>()) && (i < 2 || (*box)[i].get<double>() >= 0);
    if (!valid)
      defects_.add(place + ".bbox",
                   found_expected(printable(box->dump(), 60), "[x, y, width, height], sides not negative"));
  }

  [[nodiscard]] bool read_crowd(const std::string& place, const Json& value) {
    const auto crowd = value.find("iscrowd");
    if (crowd == value.end()) return false;
    if (crowd->is_boolean()) return crowd->get<bool>();
    if (crowd->is_number_integer() && (*crowd == 0 || *crowd == 1)) return *crowd == 1;
    defects_.add(place + ".iscrowd", found_expected(json_in_words(*crowd), "0 or 1"));
    return false;
  }

  [[nodiscard]] std::optional<CocoSegmentation> read_segmentation(const std::string& place, const Json& value,
                                                                  bool crowd) {
    const std::string field = place + ".segmentation";
    const auto found = value.find("segmentation");
    if (found == value.end()) {
      defects_.add(field, "missing, expected polygons or run lengths");
      return std::nullopt;
    }
    try {
      CocoSegmentation outline = parse_segmentation(*found, {{}, field}, rules_.images);
      if (outline.parts() + outline.dropped_polygons == 0 && !rules_.empty_segmentations)
        throw FormatError({}, field, "found an empty list, expected polygons or run lengths");
      if (crowd && !outline.polygons.empty())
        throw FormatError({}, field, "found polygons of a crowd (iscrowd 1), expected run lengths");
      return outline;
    } catch (const Error& error) {
      defects_.add(error.place(), error.message());
      return std::nullopt;
    }
  }

  /// From ids to indices.
  void resolve() {
    for (std::size_t i = 0; i < result_.annotations.size(); ++i) {
      CocoAnnotation& annotation = result_.annotations[i];
      const std::string place = "annotations[" + std::to_string(i) + "]";
      const auto image = images_.find(references_[i].image);
      const auto category = categories_.find(references_[i].category);
      if (image == images_.end())
        defects_.add(place + ".image_id",
                     found_expected(std::to_string(references_[i].image), "the id of an image of the file"));
      if (category == categories_.end())
        defects_.add(place + ".category_id",
                     found_expected(std::to_string(references_[i].category), "the id of a category of the file"));
      if (image == images_.end() || category == categories_.end()) continue;
      annotation.image = image->second;
      annotation.category = category->second;
      const ImageSize size = result_.images[annotation.image].size;
      for (const CocoRle& rle : annotation.segmentation.runs)
        if (rle.size != size)
          defects_.add(place + ".segmentation", found_expected("run lengths of " + shown_size(rle.size) + " pixels",
                                                               shown_size(size) + " as the image"));
    }
  }

  struct Reference {
    std::int64_t image;
    std::int64_t category;
  };

  FileDefects defects_;
  const CocoRules& rules_;
  CocoAnnotations result_;
  std::vector<Reference> references_;  ///< of each annotation, until the whole file is read
  std::unordered_map<std::int64_t, std::size_t> images_;
  std::unordered_map<std::int64_t, std::size_t> categories_;
  std::unordered_map<std::int64_t, std::size_t> annotation_ids_;
};

}  // namespace detail

/// Reads a COCO instances file (`images`, `annotations`, `categories`; other members are skipped), object by object:
/// memory grows with the outlines, not with the text. Every defect of the file is reported at once: missing or wrong
/// members, ids twice or leading nowhere, boxes and outlines that are none, polygons of a crowd, run lengths of another
/// size than the image. Polygons of one or two points are dropped.
/// @throws FormatError, LimitError, IoError
[[nodiscard]] inline CocoAnnotations read_coco_annotations(const std::filesystem::path& path,
                                                           const CocoRules& rules = {}) {
  detail::CocoReader reader(shown_path(path), rules);
  const std::vector<JsonMember> members = read_json_items(
      path,
      [](std::string_view member) { return member == "images" || member == "annotations" || member == "categories"; },
      [&](std::string_view member, std::size_t index, Json&& value) { reader.add(member, index, value); });
  return reader.finish(members);
}

/// Pixels of an annotated object, as pycocotools' annToMask gives them.
[[nodiscard]] inline BitMask annotation_mask(const CocoAnnotations& coco, const CocoAnnotation& annotation) {
  return segmentation_mask(annotation.segmentation, coco.images[annotation.image].size,
                           "annotation " + std::to_string(annotation.id));
}

}  // namespace lisa
