#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "lisa/data/semantic.hpp"

namespace lisa {

/// The 182 classes of COCO-Stuff (Caesar, Uijlings, Ferrari, CVPR 2018) in the order of its labels (LISA
/// utils/cocostuff_classes.txt). Label 0 is the first.
// clang-format off
inline constexpr std::array<std::string_view, 182> coco_stuff_classes{
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "street sign", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "hat", "backpack", "umbrella", "shoe", "eye glasses", "handbag", "tie",
    "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard",
    "surfboard", "tennis racket", "bottle", "plate", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana",
    "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "mirror", "dining table", "window", "desk", "toilet", "door", "tv", "laptop", "mouse",
    "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "blender", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush", "hair brush", "banner", "blanket", "branch",
    "bridge", "building-other", "bush", "cabinet", "cage", "cardboard", "carpet", "ceiling-other", "ceiling-tile",
    "cloth", "clothes", "clouds", "counter", "cupboard", "curtain", "desk-stuff", "dirt", "door-stuff", "fence",
    "floor-marble", "floor-other", "floor-stone", "floor-tile", "floor-wood", "flower", "fog", "food-other", "fruit",
    "furniture-other", "grass", "gravel", "ground-other", "hill", "house", "leaves", "light", "mat", "metal",
    "mirror-stuff", "moss", "mountain", "mud", "napkin", "net", "paper", "pavement", "pillow", "plant-other", "plastic",
    "platform", "playingfield", "railing", "railroad", "river", "road", "rock", "roof", "rug", "salad", "sand", "sea",
    "shelf", "sky", "skyscraper", "snow", "solid-other", "stairs", "stone", "straw", "structural-other", "table",
    "tent", "textile-other", "towel", "tree", "vegetable", "wall-brick", "wall-concrete", "wall-other", "wall-panel",
    "wall-stone", "wall-tile", "wall-wood", "water-other", "waterdrops", "window-blind", "window-other", "wood"};
// clang-format on

/// Names with a hyphen, such as "wall-other", are nothing that a person would ask for: their labels are no class (LISA
/// utils/sem_seg_dataset.py). Label 255 is unlabelled.
[[nodiscard]] constexpr LabelClasses coco_stuff_labels() {
  LabelClasses classes = labels_as_classes();
  for (std::size_t label = 0; label < coco_stuff_classes.size(); ++label)
    if (coco_stuff_classes[label].find('-') != std::string_view::npos) classes[label] = LabelMask::ignored;
  return classes;
}

/// COCO-Stuff below LISA's data folder `root`: `cocostuff/<split>/*.png`, pictures in `coco/<split>/*.jpg`.
/// @param split "train2017" or "val2017"
/// @throws IoError, FormatError when folders or pictures are missing
[[nodiscard]] inline SemanticFiles coco_stuff_files(const std::filesystem::path& root, const std::string& split) {
  SemanticFiles files;
  files.name = "cocostuff|" + split;
  files.image_folder = root / "coco" / split;
  files.label_folder = root / "cocostuff" / split;
  files.stems = paired_stems(files.label_folder, ".png", files.image_folder, ".jpg");
  files.classes.assign(coco_stuff_classes.begin(), coco_stuff_classes.end());
  files.class_of_label = coco_stuff_labels();
  return files;
}

}  // namespace lisa
