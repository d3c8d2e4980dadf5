#pragma once

#include <filesystem>
#include <string>

#include "lisa/data/annotated_objects.hpp"

namespace lisa {

/// PASCAL-Part (Chen et al., CVPR 2014) as VLPart prepares it, below LISA's data folder `root`:
/// `vlpart/pascal_part/<split>.json`, pictures in vlpart/pascal_part/VOCdevkit/VOC2010/JPEGImages.
/// @param split "train" or "val"
/// @throws IoError, LimitError, FormatError as `read_annotated_objects`
[[nodiscard]] inline AnnotatedObjects pascal_part_objects(const std::filesystem::path& root, const std::string& split) {
  const std::filesystem::path folder = root / "vlpart" / "pascal_part";
  const std::filesystem::path pictures = folder / "VOCdevkit" / "VOC2010" / "JPEGImages";
  return read_annotated_objects("pascal_part|" + split, folder / (split + ".json"), pictures);
}

}  // namespace lisa
