#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/lower_case.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/base/split_at.hpp"
#include "lisa/data/class_dialogue.hpp"
#include "lisa/data/coco_annotations.hpp"
#include "lisa/data/exchange.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/opened_data_set.hpp"
#include "lisa/data/pick_some.hpp"
#include "lisa/data/read_picture.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/json_fields.hpp"
#include "lisa/files/json_items.hpp"
#include "lisa/files/pickle_items.hpp"
#include "lisa/text/utf8.hpp"

namespace lisa {

/// How overlapping parts of an object are labelled.
enum class ReferLabels : std::uint8_t {
  covered,  ///< 1 wherever a part is
  summed    ///< the number of parts, as LISA has it: 2 where two overlap, which belongs to no class of its target
};

/// How referring data is read.
struct ReferOptions {
  std::size_t sentences = 3;  ///< of an image at most, in training
  ReferLabels labels = ReferLabels::covered;
};

namespace detail {

/// A sentence about an image, and the objects that it refers to.
struct ReferSentence {
  std::string text;
  std::vector<std::size_t> objects;  ///< indices in CocoAnnotations::annotations; none: the target is absent
};

/// An image of a split with its sentences.
struct ReferImage {
  std::size_t image = 0;  ///< index in CocoAnnotations::images
  std::vector<ReferSentence> sentences;
};

struct ReferImages {
  CocoAnnotations coco;
  std::filesystem::path folder;  ///< of the pictures
  std::vector<ReferImage> images;
  std::vector<std::string> warnings;
};

/// "refcoco|unc|val": data set, who split it, split.
struct ReferName {
  std::string data;
  std::string split_by;
  std::string split;
};

[[nodiscard]] inline bool is_refer_data(std::string_view data) {
  return data == "refclef" || data == "refcoco" || data == "refcoco+" || data == "refcocog" || data == "grefcoco";
}

[[nodiscard]] inline ReferName refer_name(const std::string& name) {
  const std::vector<std::string> parts = split_at(name, "|");
  ReferName result;
  if (parts.size() == 3) result = {parts[0], parts[1], parts[2]};
  if (!is_refer_data(result.data) || result.split_by.empty() || result.split.empty() ||
      result.split_by.find('/') != std::string::npos)
    throw InputError("data set", found_expected(quoted(name),
                                                "DATA|SPLITTER|SPLIT with refclef, refcoco, refcoco+, refcocog or "
                                                "grefcoco, as in \"refcoco|unc|val\""));
  return result;
}

/// Reads references one by one and gathers the sentences of one split by image, in the order of the references.
class ReferReader {
 public:
  ReferReader(ReferImages& result, std::string file, std::string split, bool several_targets)
      : result_(result), defects_(std::move(file)), split_(std::move(split)), several_targets_(several_targets) {
    for (std::size_t i = 0; i < result.coco.images.size(); ++i) image_of_id_.emplace(result.coco.images[i].id, i);
    for (std::size_t i = 0; i < result.coco.annotations.size(); ++i)
      object_of_id_.emplace(result.coco.annotations[i].id, i);
  }

  void add(std::size_t index, const Json& ref) {
    const std::string place = "item " + std::to_string(index);
    if (!ref.is_object()) return defects_.add(place, found_expected(json_in_words(ref), "an object"));
    const auto split = ref.find("split");
    if (split == ref.end() || !split->is_string())
      return defects_.add(place + " split", split == ref.end() ? "missing, expected a string"
                                                               : found_expected(json_in_words(*split), "a string"));
    const auto& name = split->get_ref<const std::string&>();
    if (std::find(splits_.begin(), splits_.end(), name) == splits_.end()) splits_.push_back(name);
    if (name != split_) return;
    const std::optional<std::size_t> image = image_of(place, ref);
    ReferSentence target;
    if (!image || !read_target(place, ref, *image, target)) return;
    read_sentences(place, ref, *image, target);
  }

  void finish() {
    defects_.throw_if_any();
    if (!result_.images.empty()) return;
    std::string known;
    for (const std::string& split : splits_) known += (known.empty() ? "" : ", ") + quoted(split);
    throw FormatError(defects_.file(), "",
                      found_expected("no reference of split " + quoted(split_),
                                     known.empty() ? "some" : "one of the splits " + known));
  }

 private:
  [[nodiscard]] static bool is_whole(const Json& value) {
    return value.is_number_integer() &&
           !(value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{INT64_MAX});
  }

  [[nodiscard]] std::optional<std::size_t> image_of(const std::string& place, const Json& ref) {
    const auto id = ref.find("image_id");
    const auto found =
        id != ref.end() && is_whole(*id) ? image_of_id_.find(id->get<std::int64_t>()) : image_of_id_.end();
    if (found != image_of_id_.end()) return found->second;
    defects_.add(place + " image_id",
                 found_expected(id == ref.end() ? "none" : json_in_words(*id), "the id of an image of instances.json"));
    return std::nullopt;
  }

  /// `ann_id`: a number; in gRefCOCO a list of them, [-1] where nothing in the image is meant.
  [[nodiscard]] bool read_target(const std::string& place, const Json& ref, std::size_t image, ReferSentence& target) {
    const auto ids = ref.find("ann_id");
    if (ids == ref.end()) {
      defects_.add(place + " ann_id", "missing, expected the id of an annotation");
      return false;
    }
    if (!ids->is_array()) return read_object(place, *ids, image, target);
    if (!several_targets_ || ids->empty()) {
      defects_.add(place + " ann_id", found_expected(ids->empty() ? "an empty list" : "a list",
                                                     several_targets_ ? "ids of annotations, or -1" : "one id"));
      return false;
    }
    return std::all_of(ids->begin(), ids->end(), [&](const Json& id) { return read_object(place, id, image, target); });
  }

  [[nodiscard]] bool read_object(const std::string& place, const Json& id, std::size_t image, ReferSentence& target) {
    if (several_targets_ && id == -1) return true;
    const auto found = is_whole(id) ? object_of_id_.find(id.get<std::int64_t>()) : object_of_id_.end();
    if (found == object_of_id_.end()) {
      defects_.add(place + " ann_id", found_expected(json_in_words(id), "the id of an annotation of instances.json"));
      return false;
    }
    if (result_.coco.annotations[found->second].image != image) {
      defects_.add(place + " ann_id",
                   found_expected("annotation " + std::to_string(id.get<std::int64_t>()) + " of another image",
                                  "one of the same image"));
      return false;
    }
    target.objects.push_back(found->second);
    return true;
  }

  void read_sentences(const std::string& place, const Json& ref, std::size_t image, const ReferSentence& target) {
    const auto sentences = ref.find("sentences");
    if (sentences == ref.end() || !sentences->is_array() || sentences->empty())
      return defects_.add(
          place + " sentences",
          found_expected(sentences == ref.end() || sentences->is_array() ? "none" : json_in_words(*sentences),
                         "a list of sentences"));
    for (std::size_t i = 0; i < sentences->size(); ++i) {
      const Json& sentence = (*sentences)[i];
      const auto text = sentence.is_object() ? sentence.find("sent") : sentence.end();
      if (!sentence.is_object() || text == sentence.end() || !text->is_string()) {
        defects_.add(place + " sentences[" + std::to_string(i) + "]", "found no text, expected one under \"sent\"");
        continue;
      }
      const std::string_view stripped = strip_right(strip_left(text->get_ref<const std::string&>()));
      if (stripped.empty() || !is_utf8(stripped)) {
        // A handful of empty sentences is known in the published files; the original asks them as they are.
        result_.warnings.push_back(defects_.file() + ": " + place + ": left out a sentence " +
                                   (stripped.empty() ? "without words" : "that is not UTF-8"));
        continue;
      }
      const auto [at, is_first] = image_entry_.emplace(image, result_.images.size());
      if (is_first) result_.images.push_back({image, {}});
      ReferSentence& added = result_.images[at->second].sentences.emplace_back(target);
      added.text = std::string(stripped);
    }
  }

  ReferImages& result_;
  FileDefects defects_;
  std::string split_;
  bool several_targets_;
  std::vector<std::string> splits_;  ///< all that the file has
  std::unordered_map<std::int64_t, std::size_t> image_of_id_;
  std::unordered_map<std::int64_t, std::size_t> object_of_id_;
  std::unordered_map<std::size_t, std::size_t> image_entry_;  ///< index in ReferImages::images of an image
};

/// Reads `refs(<splitter>).p`; gRefCOCO's is called `grefs(<splitter>)`, .p or .json (LISA utils/refer.py, grefer.py).
inline void read_references(const std::filesystem::path& folder, const ReferName& name, ReferImages& result) {
  const bool several = name.data == "grefcoco";
  const std::string stem = (several ? "grefs(" : "refs(") + name.split_by + ")";
  std::filesystem::path path = folder / (stem + ".p");
  std::error_code ignored;
  const bool json = several && !std::filesystem::exists(path, ignored);
  if (json) path = folder / (stem + ".json");
  ReferReader reader(result, shown_path(path), name.split, several);
  if (!json) {
    read_pickle_items(path, [&](std::size_t index, Json&& ref) { reader.add(index, ref); });
  } else {
    const std::vector<JsonMember> members = read_json_items(
        path, [](std::string_view member) { return member.empty(); },
        [&](std::string_view, std::size_t index, Json&& ref) { reader.add(index, ref); });
    if (members.size() != 1 || !members.front().name.empty() || !members.front().is_array)
      throw FormatError(shown_path(path), "", "found another value, expected an array");
  }
  reader.finish();
}

[[nodiscard]] inline std::shared_ptr<const ReferImages> read_refer(const std::filesystem::path& base,
                                                                   const std::string& full_name) {
  const ReferName name = refer_name(full_name);
  // LISA's validation looks in the data folder itself, where its documentation does not put these sets: who has put
  // them there for it finds them too.
  std::error_code ignored;
  const std::filesystem::path usual = base / "refer_seg";
  const std::filesystem::path root =
      !std::filesystem::exists(usual, ignored) && std::filesystem::exists(base / name.data, ignored) ? base : usual;
  auto result = std::make_shared<ReferImages>();
  result->coco =
      read_coco_annotations(root / name.data / "instances.json", {.empty_segmentations = true, .images = {}});
  result->folder =
      name.data == "refclef" ? root / "images" / "saiapr_tc-12" : root / "images" / "mscoco" / "images" / "train2014";
  if (result->coco.dropped_polygons > 0)
    result->warnings.push_back(result->coco.file + ": left out " + std::to_string(result->coco.dropped_polygons) +
                               " polygons of one or two points");
  read_references(root / name.data, name, *result);
  return result;
}

/// The picture of an entry, which must have the size that is written.
[[nodiscard]] inline Sample refer_sample(const ReferImages& set, const ReferImage& entry, const std::string& name) {
  const CocoImage& image = set.coco.images[entry.image];
  return {name + "|" + image.file_name, read_picture(set.folder / image.file_name, image.size, set.coco.file), {}};
}

/// The mask of what a sentence refers to: of several objects, any of them.
[[nodiscard]] inline LabelMask refer_mask(const CocoAnnotations& coco, const ReferSentence& sentence, ImageSize size,
                                          ReferLabels labels) {
  LabelMask mask = empty_label_mask(size);
  for (const std::size_t object : sentence.objects) {
    const CocoAnnotation& annotation = coco.annotations[object];
    const std::string place = coco.file + " annotation " + std::to_string(annotation.id);
    if (labels == ReferLabels::summed && sentence.objects.size() == 1)
      return summed_parts(annotation.segmentation, size, place);
    paint(mask, segmentation_mask(annotation.segmentation, size, place), 1);
  }
  return mask;
}

/// "no target", "several" or "one": what gRefCOCO's measures tell apart; nothing for the other sets.
[[nodiscard]] inline std::string refer_group(const ReferSentence& sentence, bool several_targets) {
  if (!several_targets) return {};
  return sentence.objects.empty() ? "no target" : sentence.objects.size() > 1 ? "several" : "one";
}

}  // namespace detail

/// RefCLEF, RefCOCO, RefCOCO+, RefCOCOg or gRefCOCO as LISA trains on them (utils/refer_seg_dataset.py): below
/// `base`/refer_seg, `<data>/instances.json` and `refs(<splitter>).p`, pictures in images/mscoco/images/train2014
/// (RefCLEF: images/saiapr_tc-12). A sample is an image with up to `options.sentences` of the sentences about it, a
/// conversation each. A sentence of gRefCOCO may refer to several objects, whose mask is their union, or to none.
/// @param name  "refcoco|unc|train": data set, splitter, split
/// @throws FormatError with every defect of a file; InputError, IoError, LimitError
[[nodiscard]] inline OpenedDataSet refer_training(const std::filesystem::path& base, const std::string& name,
                                                  const ReferOptions& options = {}) {
  const auto set = detail::read_refer(base, name);
  const bool several = name.starts_with("grefcoco|");
  const auto read = [set, name, options, several](std::size_t index, Random& random) {
    const detail::ReferImage& entry = set->images[index];
    Sample sample = detail::refer_sample(*set, entry, name);
    for (const std::size_t i : pick_some(entry.sentences.size(), options.sentences, random)) {
      const detail::ReferSentence& sentence = entry.sentences[i];
      sample.dialogues.push_back(class_dialogue(
          sentence.text, detail::refer_mask(set->coco, sentence, sample.image.size(), options.labels), random));
      sample.dialogues.back().group = detail::refer_group(sentence, several);
    }
    return sample;
  };
  return {{name, set->images.size(), read}, set->warnings};
}

/// The same sets as LISA validates on them (utils/dataset.py, ValDataset): every sentence about an image, in LISA's
/// wording for validation.
/// Conversations about gRefCOCO are grouped into "no target", "one" and "several".
/// @throws as `refer_training`
[[nodiscard]] inline OpenedDataSet refer_evaluation(const std::filesystem::path& base, const std::string& name,
                                                    ReferLabels labels = ReferLabels::covered) {
  const auto set = detail::read_refer(base, name);
  const bool several = name.starts_with("grefcoco|");
  const auto read = [set, name, labels, several](std::size_t index, Random&) {
    const detail::ReferImage& entry = set->images[index];
    Sample sample = detail::refer_sample(*set, entry, name);
    for (const detail::ReferSentence& sentence : entry.sentences)
      sample.dialogues.push_back({{validation_exchange(lower_case(sentence.text), false)},
                                  {detail::refer_mask(set->coco, sentence, sample.image.size(), labels)},
                                  detail::refer_group(sentence, several)});
    return sample;
  };
  return {{name, set->images.size(), read}, set->warnings};
}

}  // namespace lisa
