#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/data/semantic.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_fields.hpp"

namespace lisa {

/// Class names of Mapillary Vistas (Neuhold et al., ICCV 2017): `labels[].readable` of its configuration file, in lower
/// case and in the order of the labels. @throws IoError, FormatError naming every wrong entry
[[nodiscard]] inline std::vector<std::string> read_mapillary_classes(const std::filesystem::path& path) {
  const Json config = read_json(path);
  FileDefects defects(shown_path(path));
  std::vector<std::string> classes;
  const Json* labels = config.is_object() && config.contains("labels") ? &config["labels"] : nullptr;
  if (labels == nullptr || !labels->is_array()) {
    defects.add("labels", found_expected(labels == nullptr ? "nothing" : json_in_words(*labels), "a list"));
  } else {
    if (labels->empty() || labels->size() > LabelMask::ignored)
      defects.add("labels", found_expected(std::to_string(labels->size()) + " entries", "from 1 to 255"));
    for (std::size_t i = 0; i < labels->size(); ++i) {
      const Json& label = (*labels)[i];
      const Json* name = label.is_object() && label.contains("readable") ? &label["readable"] : nullptr;
      if (name != nullptr && name->is_string() && !name->get_ref<const std::string&>().empty())
        classes.push_back(lower_case(name->get<std::string>()));
      else
        defects.add("labels[" + std::to_string(i) + "].readable",
                    found_expected(name == nullptr ? "nothing" : json_in_words(*name), "a name"));
    }
  }
  defects.throw_if_any();
  return classes;
}

/// Mapillary Vistas 2.0 below LISA's data folder `root`: `mapillary/config_v2.0.json`,
/// `<split>/v2.0/labels/*.png` and `<split>/images/*.jpg` beside it. Every class may be asked for, the void ones too,
/// as in the original (LISA utils/sem_seg_dataset.py).
/// @param split "training" or "validation"
/// @throws IoError, FormatError when files are missing or the configuration is wrong
[[nodiscard]] inline SemanticFiles mapillary_files(const std::filesystem::path& root, const std::string& split) {
  const std::filesystem::path folder = root / "mapillary";
  SemanticFiles files;
  files.name = "mapillary|" + split;
  files.image_folder = folder / split / "images";
  files.label_folder = folder / split / "v2.0" / "labels";
  files.classes = read_mapillary_classes(folder / "config_v2.0.json");
  files.stems = paired_stems(files.label_folder, ".png", files.image_folder, ".jpg");
  files.class_of_label = labels_as_classes();
  return files;
}

}  // namespace lisa
