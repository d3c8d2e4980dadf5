#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/data/ade20k.hpp"
#include "lisa/data/coco_stuff.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/tabletop/kinds.hpp"
#include "lisa/data/tabletop/pictures.hpp"
#include "lisa/data/tabletop/wording.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/image/encode_png.hpp"

namespace lisa::tabletop {

namespace semantic_detail {

/// Label of the table and of every kind of object in a label file.
struct Labels {
  std::uint8_t table = 0;
  std::array<std::uint8_t, kinds.size()> kind{};
};

/// Labels from a list of classes; what is not in it gets `none`.
template <class Classes>
[[nodiscard]] Labels labels_of(const Classes& classes, std::size_t first, std::uint8_t none) {
  const auto label = [&](std::string_view name) {
    const auto found = std::find(classes.begin(), classes.end(), name);
    return found == classes.end()
               ? none
               : static_cast<std::uint8_t>(first + static_cast<std::size_t>(found - classes.begin()));
  };
  Labels labels{label("table"), {}};
  for (std::size_t i = 0; i < kinds.size(); ++i) labels.kind[i] = label(kinds[i].name);
  return labels;
}

/// A picture and its label file.
inline void write_pair(const Picture& picture, const Labels& labels, const std::filesystem::path& images,
                       const std::filesystem::path& label_folder) {
  write_file(images / picture.file_name(), picture.jpeg);
  std::vector<std::uint8_t> map;
  for (const std::uint8_t owner : picture.scene().owners)
    map.push_back(owner == 0 ? labels.table : labels.kind[picture.scene().objects[owner - 1U].kind]);
  const std::vector<std::uint8_t> png = encode_grey_png(map, picture.size());
  write_file(label_folder / (picture.stem + ".png"), {reinterpret_cast<const char*>(png.data()), png.size()});
}

}  // namespace semantic_detail

/// ADE20K's layout below `root`: the kinds that are among its classes, and the table; the others are unlabelled.
inline void write_ade20k(const std::filesystem::path& root, const std::vector<Picture>& pictures) {
  const semantic_detail::Labels labels = semantic_detail::labels_of(ade20k_classes, 1, 0);
  for (const Picture& picture : pictures) {
    const std::string split = picture.training ? "training" : "validation";
    semantic_detail::write_pair(picture, labels, made_folder(root / "ade20k" / "images" / split),
                                made_folder(root / "ade20k" / "annotations" / split));
  }
}

/// COCO-Stuff's layout, likewise. Its pictures are those of PACO-LVIS and LLaVA-Instruct too.
inline void write_coco_stuff(const std::filesystem::path& root, const std::vector<Picture>& pictures) {
  const semantic_detail::Labels labels = semantic_detail::labels_of(coco_stuff_classes, 0, LabelMask::ignored);
  for (const Picture& picture : pictures) {
    const std::string split = picture.training ? "train2017" : "val2017";
    semantic_detail::write_pair(picture, labels, made_folder(root / "coco" / split),
                                made_folder(root / "cocostuff" / split));
  }
}

/// The layout of Mapillary Vistas, whose classes are a file: the table and every kind.
inline void write_mapillary(const std::filesystem::path& root, const std::vector<Picture>& pictures) {
  std::vector<std::string> classes{"table"};
  for (const Kind& kind : kinds) classes.emplace_back(kind.name);
  Json config = Json::object();
  config["labels"] = Json::array();
  for (const std::string& name : classes) {
    Json& label = config["labels"].emplace_back(Json::object());
    label["name"] = "object--" + name;
    label["readable"] = capitalized(name);
  }
  write_json(root / "mapillary" / "config_v2.0.json", config);
  const semantic_detail::Labels labels = semantic_detail::labels_of(classes, 0, LabelMask::ignored);
  for (const Picture& picture : pictures) {
    const std::filesystem::path folder = root / "mapillary" / (picture.training ? "training" : "validation");
    semantic_detail::write_pair(picture, labels, made_folder(folder / "images"),
                                made_folder(folder / "v2.0" / "labels"));
  }
}

}  // namespace lisa::tabletop
