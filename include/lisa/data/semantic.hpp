#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/lower_case.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/class_dialogue.hpp"
#include "lisa/data/exchange.hpp"
#include "lisa/data/pick_some.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/read_picture.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/file_names.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/image/read_image.hpp"

namespace lisa {

/// Class of each value that a label file can hold; `LabelMask::ignored` where there is none to be asked for.
using LabelClasses = std::array<std::uint8_t, 256>;

/// Pictures whose every pixel has a class: files of pictures and of labels, and what the labels mean.
struct SemanticFiles {
  std::string name;  ///< "ade20k|training"
  std::filesystem::path image_folder;
  std::filesystem::path label_folder;
  std::vector<std::string> stems;    ///< of `<image_folder>/<stem>.jpg` and `<label_folder>/<stem>.png`
  std::vector<std::string> classes;  ///< name of class i
  LabelClasses class_of_label{};     ///< classes beyond `classes` are errors of a label file
};

/// How a set of labelled pictures is trained on.
struct SemanticTraining {
  std::size_t questions = 3;          ///< at most so many classes of a picture, a conversation each
  bool ignored_is_background = true;  ///< as LISA trains; otherwise pixels without a class stay 255
};

/// Label i is class i, and 255 is none.
[[nodiscard]] constexpr LabelClasses labels_as_classes() {
  LabelClasses classes{};
  for (std::size_t label = 0; label < classes.size(); ++label) classes[label] = static_cast<std::uint8_t>(label);
  return classes;
}

/// Stems of the files of `extension` in `folder`, all of which must be in `partner_folder` too.
/// @throws FormatError when there is no file, or naming those without a partner
[[nodiscard]] inline std::vector<std::string> paired_stems(const std::filesystem::path& folder,
                                                           const std::string& extension,
                                                           const std::filesystem::path& partner_folder,
                                                           const std::string& partner_extension) {
  std::vector<std::string> stems = file_stems(folder, extension);
  if (stems.empty())
    throw FormatError(shown_path(folder), "", found_expected("no *" + extension + " file", "at least one"));
  const std::vector<std::string> partners = file_stems(partner_folder, partner_extension);
  FileDefects defects(shown_path(partner_folder));
  for (const std::string& stem : stems)
    if (!std::binary_search(partners.begin(), partners.end(), stem))
      defects.add(printable(stem + partner_extension),
                  "missing, expected as there is " + printable(stem + extension) + " in " + shown_path(folder));
  defects.throw_if_any();
  return stems;
}

namespace semantic_detail {

/// A class per pixel, and which classes there are.
struct ClassMap {
  LabelMap map;
  std::vector<std::uint8_t> present;
};

inline ClassMap read_classes(const SemanticFiles& files, const std::string& stem) {
  const std::filesystem::path path = files.label_folder / (stem + ".png");
  ClassMap read{read_label_map(path), {}};
  std::array<bool, 256> seen{};
  for (std::uint8_t& label : read.map.labels) {
    const std::uint8_t value = label;
    label = files.class_of_label[value];
    if (seen[label]) continue;
    seen[label] = true;
    if (label == LabelMask::ignored) continue;
    if (label >= files.classes.size())
      throw FormatError(shown_path(path), "",
                        found_expected("label " + std::to_string(value),
                                       "one of the " + std::to_string(files.classes.size()) + " classes"));
    read.present.push_back(label);
  }
  std::sort(read.present.begin(), read.present.end());
  return read;
}

/// The pixels of one class; those of none are ignored.
inline LabelMask class_mask(const LabelMap& classes, std::uint8_t wanted) {
  LabelMask mask{classes.size, classes.labels};
  for (std::uint8_t& label : mask.labels)
    if (label != LabelMask::ignored) label = label == wanted ? 1 : 0;
  return mask;
}

inline Sample read_sample(const SemanticFiles& files, const std::string& stem, ImageSize label_size) {
  const std::string name = stem + ".jpg";
  return {files.name + "|" + name, read_picture(files.image_folder / name, label_size, "its labels"), {}};
}

/// The picture at `index`, or another one when it holds no class.
inline Sample draw_sample(const SemanticFiles& files, std::size_t index, const SemanticTraining& options,
                          Random& random) {
  constexpr int most_draws = 100;
  ClassMap classes = read_classes(files, files.stems[index]);
  for (int draws = 1; classes.present.empty(); ++draws) {
    if (draws == most_draws)
      throw FormatError(
          shown_path(files.label_folder), "",
          found_expected(std::to_string(most_draws) + " label files in a row without a class", "classes to ask for"));
    index = static_cast<std::size_t>(random.below(files.stems.size()));
    classes = read_classes(files, files.stems[index]);
  }
  Sample sample = read_sample(files, files.stems[index], classes.map.size);
  for (const std::size_t i : pick_some(classes.present.size(), options.questions, random)) {
    const std::uint8_t drawn = classes.present[i];
    LabelMask mask = class_mask(classes.map, drawn);
    if (options.ignored_is_background)
      std::replace(mask.labels.begin(), mask.labels.end(), LabelMask::ignored, std::uint8_t{0});
    sample.dialogues.push_back(class_dialogue(files.classes[drawn], std::move(mask), random));
    sample.dialogues.back().group = lower_case(files.classes[drawn]);
  }
  return sample;
}

/// The picture at `index` with a question about each of its classes.
inline Sample whole_sample(const SemanticFiles& files, std::size_t index) {
  const ClassMap classes = read_classes(files, files.stems[index]);
  Sample sample = read_sample(files, files.stems[index], classes.map.size);
  for (const std::uint8_t present : classes.present) {
    const std::string name = lower_case(files.classes[present]);
    sample.dialogues.push_back({{validation_exchange(name, false)}, {class_mask(classes.map, present)}, name});
  }
  return sample;
}

}  // namespace semantic_detail

/// Labelled pictures as LISA trains on them (utils/sem_seg_dataset.py): each sample asks for classes drawn from a
/// picture without replacement, one conversation each. In place of a picture that holds no class another one is drawn.
/// A dialogue's group is its class.
/// @throws InputError for options without questions
[[nodiscard]] inline DataSet semantic_training(SemanticFiles files, const SemanticTraining& options = {}) {
  if (options.questions < 1) throw InputError(files.name, found_expected("0 questions", "at least 1"));
  const auto shared = std::make_shared<const SemanticFiles>(std::move(files));
  return {shared->name, shared->stems.size(), [shared, options](std::size_t index, Random& random) {
            return semantic_detail::draw_sample(*shared, index, options, random);
          }};
}

/// Labelled pictures to evaluate on: every class of every picture is asked for in LISA's validation wording, pixels
/// without a class are ignored, and a picture that holds none has no dialogue. A dialogue's group is its class.
[[nodiscard]] inline DataSet semantic_evaluation(SemanticFiles files) {
  const auto shared = std::make_shared<const SemanticFiles>(std::move(files));
  return {shared->name, shared->stems.size(),
          [shared](std::size_t index, Random&) { return semantic_detail::whole_sample(*shared, index); }};
}

}  // namespace lisa
