#pragma once

#include <filesystem>
#include <string>

#include "lisa/data/annotated_objects.hpp"

namespace lisa {

/// PACO-LVIS (Ramanathan et al., CVPR 2023) below LISA's data folder `root`:
/// `vlpart/paco/annotations/paco_lvis_v1_<split>.json`, pictures below coco/.
/// @param split "train", "val" or "test"
/// @throws IoError, LimitError, FormatError as `read_annotated_objects`
[[nodiscard]] inline AnnotatedObjects paco_lvis_objects(const std::filesystem::path& root, const std::string& split) {
  const std::filesystem::path annotations =
      root / "vlpart" / "paco" / "annotations" / ("paco_lvis_v1_" + split + ".json");
  return read_annotated_objects("paco_lvis|" + split, annotations, root / "coco");
}

}  // namespace lisa
