#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "lisa/data/semantic.hpp"

namespace lisa {

/// The 150 classes of the ADE20K scene parsing benchmark (Zhou et al., CVPR 2017) by the names that LISA asks for (LISA
/// utils/ade20k_classes.json). Label 1 is the first.
// clang-format off
inline constexpr std::array<std::string_view, 150> ade20k_classes{
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet", "sidewalk",
    "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water", "painting", "sofa",
    "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp",
    "bathtub", "railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter", "sand",
    "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs", "runway", "case", "pool table",
    "pillow", "screen door", "stairway", "river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower",
    "book", "hill", "bench", "countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar",
    "arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight",
    "booth", "television receiver", "airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator",
    "ottoman", "bottle", "buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer",
    "plaything", "swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven",
    "ball", "food", "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher",
    "screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier",
    "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag"};
// clang-format on

/// Label 0, "other", is no class; label i is class i - 1 (LISA utils/sem_seg_dataset.py).
[[nodiscard]] constexpr LabelClasses ade20k_labels() {
  LabelClasses classes{};
  classes[0] = LabelMask::ignored;
  for (std::size_t label = 1; label < classes.size(); ++label) classes[label] = static_cast<std::uint8_t>(label - 1);
  classes[255] = LabelMask::ignored;
  return classes;
}

/// ADE20K below LISA's data folder `root`: `ade20k/images/<split>/*.jpg`, `ade20k/annotations/<split>/*.png`.
/// @param split "training" or "validation"
/// @throws IoError, FormatError when folders or label files are missing
[[nodiscard]] inline SemanticFiles ade20k_files(const std::filesystem::path& root, const std::string& split) {
  SemanticFiles files;
  files.name = "ade20k|" + split;
  files.image_folder = root / "ade20k" / "images" / split;
  files.label_folder = root / "ade20k" / "annotations" / split;
  files.stems = paired_stems(files.image_folder, ".jpg", files.label_folder, ".png");
  files.classes.assign(ade20k_classes.begin(), ade20k_classes.end());
  files.class_of_label = ade20k_labels();
  return files;
}

}  // namespace lisa
