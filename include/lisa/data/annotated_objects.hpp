#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/lower_case.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/class_dialogue.hpp"
#include "lisa/data/coco_annotations.hpp"
#include "lisa/data/exchange.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/pick_some.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/read_picture.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/files/file_defects.hpp"

namespace lisa {

/// What a category of PACO-LVIS or PASCAL-Part stands for.
struct ObjectName {
  std::string object;
  std::string part;  ///< of the object; empty for the object itself
  bool operator==(const ObjectName&) const = default;
};

/// The name behind a category's: "mug_(drinking)" is a mug, "mug_(drinking):handle" its handle (LISA
/// utils/sem_seg_dataset.py). @throws InputError for an empty name or a second colon
[[nodiscard]] inline ObjectName parse_object_name(std::string_view category) {
  constexpr std::string_view blanks = " \t\n\r\f\v";
  std::string_view trimmed = category;
  trimmed.remove_prefix(std::min(trimmed.find_first_not_of(blanks), trimmed.size()));
  trimmed = trimmed.substr(0, trimmed.find_last_not_of(blanks) + 1);
  const std::size_t colon = trimmed.find(':');
  const auto without_remark = [](std::string_view name) { return std::string(name.substr(0, name.find("_("))); };
  ObjectName name{without_remark(trimmed.substr(0, colon)), {}};
  if (colon != std::string_view::npos) name.part = without_remark(trimmed.substr(colon + 1));
  if (name.object.empty() || (colon != std::string_view::npos && name.part.empty()) ||
      trimmed.find(':') != trimmed.rfind(':'))
    throw InputError("category", found_expected(quoted(category), "\"object\" or \"object:part\""));
  return name;
}

/// How a question calls it: a part is "object part" or "the part of the object", with the same chance.
[[nodiscard]] inline std::string drawn_phrase(const ObjectName& name, Random& random) {
  if (name.part.empty()) return name.object;
  return random.chance(0.5) ? name.object + " " + name.part : "the " + name.part + " of the " + name.object;
}

/// Pictures with outlined objects and parts, checked: every picture listed has one at least.
struct AnnotatedObjects {
  std::string name;  ///< "paco_lvis|train"
  std::filesystem::path image_folder;
  CocoAnnotations coco;
  std::vector<ObjectName> names;                     ///< of each category
  std::vector<std::vector<std::size_t>> of_picture;  ///< annotations of each picture that has some
};

namespace annotated_objects_detail {

/// A picture's name in an annotation file must not lead out of the picture folder.
inline bool stays_inside(const std::filesystem::path& path) {
  return !path.empty() && !path.is_absolute() && std::find(path.begin(), path.end(), "..") == path.end();
}

inline void resolve(AnnotatedObjects& objects) {
  const CocoAnnotations& coco = objects.coco;
  FileDefects defects(coco.file);
  for (std::size_t i = 0; i < coco.categories.size(); ++i) {
    try {
      objects.names.push_back(parse_object_name(coco.categories[i].name));
    } catch (const InputError& error) {
      defects.add("categories[" + std::to_string(i) + "].name", error.message());
    }
  }
  for (std::size_t i = 0; i < coco.images.size(); ++i)
    if (!stays_inside(coco.images[i].file_name))
      defects.add("images[" + std::to_string(i) + "].file_name",
                  found_expected(quoted(coco.images[i].file_name), "a path below the folder of pictures"));
  objects.of_picture.resize(coco.images.size());
  for (std::size_t i = 0; i < coco.annotations.size(); ++i)
    if (coco.annotations[i].segmentation.parts() > 0) objects.of_picture[coco.annotations[i].image].push_back(i);
  std::erase_if(objects.of_picture, [](const std::vector<std::size_t>& annotations) { return annotations.empty(); });
  if (objects.of_picture.empty()) defects.add("annotations", "found no outlined object, expected at least one");
  defects.throw_if_any();
}

/// Picture `index` without its questions.
inline Sample read_sample(const AnnotatedObjects& objects, std::size_t index) {
  const CocoAnnotations& coco = objects.coco;
  const CocoImage& picture = coco.images[coco.annotations[objects.of_picture[index].front()].image];
  return {objects.name + "|" + picture.file_name,
          read_picture(objects.image_folder / picture.file_name, picture.size, coco.file),
          {}};
}

/// What a dialogue about an annotation is grouped by.
inline std::string group_of(const ObjectName& name) { return name.part.empty() ? "object" : "part"; }

inline LabelMask mask_of(const AnnotatedObjects& objects, std::size_t annotation) {
  return label_mask(annotation_mask(objects.coco, objects.coco.annotations[annotation]));
}

inline const ObjectName& name_of(const AnnotatedObjects& objects, std::size_t annotation) {
  return objects.names[objects.coco.annotations[annotation].category];
}

inline Sample draw_sample(const AnnotatedObjects& objects, std::size_t index, std::size_t questions, Random& random) {
  Sample sample = read_sample(objects, index);
  const std::vector<std::size_t>& annotations = objects.of_picture[index];
  for (const std::size_t i : pick_some(annotations.size(), questions, random)) {
    const ObjectName& name = name_of(objects, annotations[i]);
    sample.dialogues.push_back(class_dialogue(drawn_phrase(name, random), mask_of(objects, annotations[i]), random));
    sample.dialogues.back().group = group_of(name);
  }
  return sample;
}

inline Sample whole_sample(const AnnotatedObjects& objects, std::size_t index) {
  Sample sample = read_sample(objects, index);
  for (const std::size_t annotation : objects.of_picture[index]) {
    const ObjectName& name = name_of(objects, annotation);
    const std::string phrase = name.part.empty() ? name.object : name.object + " " + name.part;
    sample.dialogues.push_back(
        {{validation_exchange(lower_case(phrase), false)}, {mask_of(objects, annotation)}, group_of(name)});
  }
  return sample;
}

}  // namespace annotated_objects_detail

/// Reads a COCO file of objects and parts. Outlines without a point and pictures without an outline are left out: the
/// original draws again when it meets such a picture. @throws IoError, LimitError, FormatError naming all defects
[[nodiscard]] inline AnnotatedObjects read_annotated_objects(std::string name, const std::filesystem::path& annotations,
                                                             const std::filesystem::path& image_folder) {
  CocoRules rules;
  rules.empty_segmentations = true;
  AnnotatedObjects objects{std::move(name), image_folder, read_coco_annotations(annotations, rules), {}, {}};
  annotated_objects_detail::resolve(objects);
  return objects;
}

/// Annotated objects as LISA trains on them (utils/sem_seg_dataset.py): each sample asks for at most `questions`
/// objects or parts drawn from a picture without replacement, one conversation and one annotation each, also where
/// several of the kind are in the picture. A dialogue's group is "object" or "part".
/// @throws InputError for no questions
[[nodiscard]] inline DataSet object_training(AnnotatedObjects objects, std::size_t questions = 3) {
  if (questions < 1) throw InputError(objects.name, found_expected("0 questions", "at least 1"));
  const auto shared = std::make_shared<const AnnotatedObjects>(std::move(objects));
  return {shared->name, shared->of_picture.size(), [shared, questions](std::size_t index, Random& random) {
            return annotated_objects_detail::draw_sample(*shared, index, questions, random);
          }};
}

/// Annotated objects to evaluate on: every annotation of every picture is asked for in LISA's validation wording, parts
/// as "object part". A dialogue's group is "object" or "part".
[[nodiscard]] inline DataSet object_evaluation(AnnotatedObjects objects) {
  const auto shared = std::make_shared<const AnnotatedObjects>(std::move(objects));
  return {shared->name, shared->of_picture.size(),
          [shared](std::size_t index, Random&) { return annotated_objects_detail::whole_sample(*shared, index); }};
}

}  // namespace lisa
