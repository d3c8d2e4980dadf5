#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/append_utf8.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/lower_case.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/base/split_at.hpp"
#include "lisa/data/class_dialogue.hpp"
#include "lisa/data/exchange.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/opened_data_set.hpp"
#include "lisa/data/pick_some.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/file_names.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_fields.hpp"
#include "lisa/files/json_items.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/image/outline_mask.hpp"
#include "lisa/image/read_image.hpp"
#include "lisa/text/lisa_templates.hpp"
#include "lisa/text/seg_mark.hpp"
#include "lisa/text/utf8.hpp"

namespace lisa {

/// An outline of a ReasonSeg annotation.
struct ReasonSegShape {
  std::vector<PixelPoint> points;  ///< at least one
  bool ignored = false;            ///< neither right nor wrong
};

/// A ReasonSeg annotation file.
struct ReasonSegAnnotation {
  std::vector<std::string> texts;  ///< wordings of one question, at least one
  bool is_sentence = false;        ///< a whole sentence, the "long" questions; else a phrase, the "short" ones
  std::vector<ReasonSegShape> shapes;
};

namespace detail {

/// Windows-1252 as UTF-8. Throws FormatError for the five bytes that it leaves undefined.
[[nodiscard]] inline std::string utf8_of_cp1252(std::string_view text, const std::string& file) {
  constexpr std::array<std::uint16_t, 32> high{0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                               0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017D, 0,
                                               0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                               0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};
  std::string out;
  out.reserve(text.size() + 16);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const char32_t code = byte >= 0x80 && byte < 0xA0 ? high[byte - 0x80] : byte;
    if (code == 0 && byte != 0)
      throw FormatError(file, "byte " + std::to_string(i + 1),
                        found_expected(quoted(text.substr(i, 1)), "UTF-8 or Windows-1252 text"));
    append_utf8(out, code);
  }
  return out;
}

/// Reads the fields of a ReasonSeg annotation and notes what is wrong with them.
class ReasonSegReader {
 public:
  explicit ReasonSegReader(FileDefects& defects) : defects_(defects) {}

  [[nodiscard]] ReasonSegAnnotation read(const Json& root) {
    ReasonSegAnnotation result;
    if (!root.is_object()) {
      defects_.add("the file", found_expected(json_in_words(root), "an object"));
      return result;
    }
    read_texts(root, result);
    const Json* is_sentence = find(root, "is_sentence", "true or false");
    if (is_sentence != nullptr && !is_sentence->is_boolean())
      defects_.add("is_sentence", found_expected(json_in_words(*is_sentence), "true or false"));
    else if (is_sentence != nullptr)
      result.is_sentence = is_sentence->get<bool>();
    const Json* shapes = find(root, "shapes", "a list of outlines");
    if (shapes != nullptr && !shapes->is_array())
      defects_.add("shapes", found_expected(json_in_words(*shapes), "a list of outlines"));
    else if (shapes != nullptr)
      for (std::size_t i = 0; i < shapes->size(); ++i) read_shape((*shapes)[i], i, result);
    return result;
  }

 private:
  [[nodiscard]] const Json* find(const Json& object, const char* name, const std::string& expected,
                                 const std::string& prefix = {}) {
    const auto value = object.find(name);
    if (value != object.end()) return &*value;
    defects_.add(prefix + name, "missing, expected " + expected);
    return nullptr;
  }

  void read_texts(const Json& root, ReasonSegAnnotation& result) {
    const Json* texts = find(root, "text", "a list of questions");
    if (texts == nullptr) return;
    if (!texts->is_array() || texts->empty())
      return defects_.add("text",
                          found_expected(texts->is_array() ? "none" : json_in_words(*texts), "a list of questions"));
    for (std::size_t i = 0; i < texts->size(); ++i) {
      const Json& text = (*texts)[i];
      const std::string place = "text[" + std::to_string(i) + "]";
      if (!text.is_string())
        defects_.add(place, found_expected(json_in_words(text), "a string"));
      else if (strip_left(text.get_ref<const std::string&>()).empty())
        defects_.add(place, "found no text, expected a question");
      else
        result.texts.push_back(text.get<std::string>());
    }
  }

  void read_shape(const Json& shape, std::size_t index, ReasonSegAnnotation& result) {
    const std::string place = "shapes[" + std::to_string(index) + "]";
    if (!shape.is_object()) return defects_.add(place, found_expected(json_in_words(shape), "an object"));
    const Json* label = find(shape, "label", "a string", place + ".");
    const Json* points = find(shape, "points", "a list of points", place + ".");
    if (label == nullptr || points == nullptr) return;
    if (!label->is_string()) return defects_.add(place + ".label", found_expected(json_in_words(*label), "a string"));
    const std::string name = lower_case(label->get_ref<const std::string&>());
    if (name == "flag") return;  // no outline: what the annotators' tool leaves
    ReasonSegShape result_shape;
    result_shape.ignored = name.find("ignore") != std::string::npos;
    if (!points->is_array() || points->empty())
      return defects_.add(place + ".points", found_expected(points->is_array() ? "none" : json_in_words(*points),
                                                            "a list of points, at least one"));
    for (std::size_t i = 0; i < points->size(); ++i) {
      const Json& point = (*points)[i];
      if (!is_point(point))
        return defects_.add(place + ".points[" + std::to_string(i) + "]",
                            found_expected(printable(point.dump(), 60), "[x, y] between -1e6 and 1e6"));
      // LISA hands the outlines to OpenCV as np.int32, which cuts the fraction off.
      result_shape.points.push_back(
          {static_cast<int>(point[0].get<double>()), static_cast<int>(point[1].get<double>())});
    }
    result.shapes.push_back(std::move(result_shape));
  }

  [[nodiscard]] static bool is_point(const Json& point) {
    return point.is_array() && point.size() == 2 && std::all_of(point.begin(), point.end(), [](const Json& value) {
             return value.is_number() && std::abs(value.get<double>()) <= max_outline_coordinate;
           });
  }

  FileDefects& defects_;
};

}  // namespace detail

/// The annotation in the text of a ReasonSeg file: UTF-8, or Windows-1252 where it is none, as LISA reads them. Shapes
/// called "flag" are left out, those with "ignore" in their name are ignored pixels; coordinates lose their fraction.
/// Throws FormatError with every defect, LimitError.
[[nodiscard]] inline ReasonSegAnnotation parse_reason_seg(std::string_view text, const std::string& file) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const std::string utf8 = is_utf8(text) ? std::string(text) : detail::utf8_of_cp1252(text, file);
  FileDefects defects(file);
  ReasonSegAnnotation annotation = detail::ReasonSegReader(defects).read(parse_json(utf8, file));
  defects.throw_if_any();
  return annotation;
}

/// What an image's mask should be: 1 target, 255 ignored, 0 elsewhere. The outlines are filled with their borders, the
/// largest first, so that smaller ones lie on top; of two with the same area the later one is painted first (LISA
/// utils/data_processing.py).
[[nodiscard]] inline LabelMask reason_seg_mask(const ReasonSegAnnotation& annotation, ImageSize size) {
  struct Painted {
    BitMask pixels;
    std::int64_t area;
    std::size_t index;  // in the file
  };
  std::vector<Painted> order;
  for (std::size_t i = 0; i < annotation.shapes.size(); ++i) {
    BitMask pixels = outline_mask(annotation.shapes[i].points, size);
    const std::int64_t covered = area(pixels);
    order.push_back({std::move(pixels), covered, i});
  }
  std::sort(order.begin(), order.end(),
            [](const Painted& a, const Painted& b) { return a.area != b.area ? a.area > b.area : a.index > b.index; });
  LabelMask mask = empty_label_mask(size);
  for (const Painted& painted : order)
    paint(mask, painted.pixels, annotation.shapes[painted.index].ignored ? LabelMask::ignored : std::uint8_t{1});
  return mask;
}

/// How ReasonSeg is trained on.
struct ReasonSegTraining {
  std::size_t questions = 3;  ///< at most so many wordings of an image's question, a conversation each
  /// How often an image that has an explanation is answered by it alone, without a mask; the other times the
  /// explanation follows the mask every other time. Nothing: explanations are not used (LISA's --explanatory -1).
  std::optional<double> explanatory = 0.1;
  bool ignored_is_background = true;  ///< as LISA trains; otherwise ignored pixels stay 255
};

namespace detail {

struct ReasonSegImage {
  std::filesystem::path path;
  std::string name;  ///< of the sample
  ReasonSegAnnotation annotation;
};

/// The images of a ReasonSeg folder's splits with their annotations.
struct ReasonSegImages {
  std::vector<ReasonSegImage> images;
  std::map<std::string, std::string> explanations;  ///< by file name of the image
  std::vector<std::string> warnings;
};

/// "ReasonSeg|train_val": the folder's name and its splits.
struct ReasonSegName {
  std::string folder;
  std::vector<std::string> splits;
};

[[nodiscard]] inline ReasonSegName reason_seg_name(const std::string& name) {
  const std::vector<std::string> parts = split_at(name, "|");
  ReasonSegName result;
  if (parts.size() == 2) result = {parts[0], split_at(parts[1], "_")};
  const bool valid = !result.folder.empty() && !result.splits.empty() &&
                     std::all_of(result.splits.begin(), result.splits.end(), [](const std::string& split) {
                       return !split.empty() && split.find_first_of("/.") == std::string::npos;
                     });
  if (!valid || result.folder.find('/') != std::string::npos)
    throw InputError("data set", found_expected(quoted(name), "FOLDER|SPLIT as in \"ReasonSeg|train\""));
  return result;
}

/// The annotations of one split. Pictures without annotation and broken annotations go to `defects`, annotations
/// without picture to the warnings.
inline void read_reason_seg_split(const std::filesystem::path& folder, const std::string& name, ReasonSegImages& result,
                                  Defects& defects) {
  const std::vector<std::string> pictures = file_stems(folder, ".jpg"), annotations = file_stems(folder, ".json");
  const auto among = [](const std::vector<std::string>& stems, const std::string& stem) {
    return std::binary_search(stems.begin(), stems.end(), stem);
  };
  for (const std::string& stem : annotations)
    if (!among(pictures, stem))
      result.warnings.push_back(shown_path(folder / (stem + ".json")) +
                                ": found no picture (.jpg) for this annotation");
  for (const std::string& stem : pictures) {
    const std::filesystem::path picture = folder / (stem + ".jpg");
    if (!among(annotations, stem)) {
      defects.add(shown_path(picture) + ": found no annotation (.json) for this picture");
      continue;
    }
    try {
      const MappedFile text(folder / (stem + ".json"));
      result.images.push_back({picture, name + "|" + stem + ".jpg", parse_reason_seg(text.text(), text.name())});
    } catch (const Error& error) {
      defects.add(error.what());
    }
  }
}

/// explanatory/train.json: a list of `{image, query, outputs}`.
inline void read_explanations(const std::filesystem::path& path, ReasonSegImages& result) {
  FileDefects defects(shown_path(path));
  const auto members = read_json_items(
      path, [](std::string_view member) { return member.empty(); },
      [&](std::string_view, std::size_t index, Json&& item) {
        const std::string place = "item " + std::to_string(index);
        if (!item.is_object()) return defects.add(place, found_expected(json_in_words(item), "an object"));
        for (const char* name : {"image", "outputs"})
          if (!item.contains(name) || !item[name].is_string() ||
              strip_left(item[name].get_ref<const std::string&>()).empty())
            return defects.add(
                place + " " + name,
                found_expected(item.contains(name) ? json_in_words(item[name]) : "none", "a string that is not empty"));
        if (count_segs(item["outputs"].get_ref<const std::string&>()) > 0)
          return defects.add(place + " outputs", "found \"[SEG]\", expected words alone");
        result.explanations[item["image"].get<std::string>()] = item["outputs"].get<std::string>();
      });
  if (members.size() != 1 || !members.front().name.empty() || !members.front().is_array)
    defects.add("the file", "found another value, expected an array");
  defects.throw_if_any();
}

[[nodiscard]] inline ReasonSegImages read_reason_seg(const std::filesystem::path& base, const std::string& name,
                                                     bool explanations) {
  const ReasonSegName parts = reason_seg_name(name);
  const std::filesystem::path folder = base / "reason_seg" / parts.folder;
  ReasonSegImages result;
  Defects defects;
  for (const std::string& split : parts.splits)
    read_reason_seg_split(folder / split, parts.folder + "|" + split, result, defects);
  if (!defects.empty()) throw FormatError(shown_path(folder), "", defects.report("defects"));
  if (result.images.empty()) throw FormatError(shown_path(folder), name, "found no picture (.jpg), expected some");
  if (explanations) read_explanations(folder / "explanatory" / "train.json", result);
  return result;
}

enum class ReasonSegAnswer : std::uint8_t { mask, mask_and_explanation, explanation };

[[nodiscard]] inline Dialogue mask_dialogue(const std::string& text, bool is_sentence, const LabelMask& mask,
                                            Random& random) {
  if (!is_sentence) return class_dialogue(text, mask, random);
  return {{sentence_exchange(text, random)}, {mask}, {}};
}

/// The question answered by words, with or without the mask in front of them.
[[nodiscard]] inline Dialogue explained_dialogue(const std::string& text, ReasonSegAnswer kind,
                                                 const std::string& explanation, const LabelMask& mask,
                                                 Random& random) {
  if (kind == ReasonSegAnswer::explanation) return {{{text, explanation}}, {}, {}};
  const std::string question = text + " " + std::string(random.pick(explanatory_requests));
  return {{{question, std::string(random.pick(answers)) + " " + explanation}}, {mask}, {}};
}

}  // namespace detail

/// ReasonSeg as LISA trains on it (utils/reason_seg_dataset.py): pictures and annotations in
/// `base`/reason_seg/ReasonSeg/train, explanations in explanatory/train.json. Every conversation of a sample asks in
/// another wording for the same mask. Dialogues are grouped into "long" (sentences) and "short" (phrases).
/// @param name  "ReasonSeg|train", "ReasonSeg|train_val" for both splits
/// @throws FormatError with every broken annotation file; InputError, IoError, LimitError
[[nodiscard]] inline OpenedDataSet reason_seg_training(const std::filesystem::path& base, const std::string& name,
                                                       const ReasonSegTraining& options = {}) {
  const auto set = std::make_shared<const detail::ReasonSegImages>(
      detail::read_reason_seg(base, name, options.explanatory.has_value()));
  const auto read = [set, options](std::size_t index, Random& random) {
    using detail::ReasonSegAnswer;
    const detail::ReasonSegImage& from = set->images[index];
    const ReasonSegAnnotation& annotation = from.annotation;
    Sample sample{from.name, read_image(from.path), {}};
    LabelMask mask = reason_seg_mask(annotation, sample.image.size());
    if (options.ignored_is_background)
      std::replace(mask.labels.begin(), mask.labels.end(), LabelMask::ignored, std::uint8_t{0});
    const auto explanation = set->explanations.find(from.path.filename().string());
    ReasonSegAnswer kind = ReasonSegAnswer::mask;
    if (explanation != set->explanations.end()) {
      if (random.chance(*options.explanatory))
        kind = ReasonSegAnswer::explanation;
      else if (random.chance(0.5))
        kind = ReasonSegAnswer::mask_and_explanation;
    }
    for (const std::size_t i : pick_some(annotation.texts.size(), options.questions, random)) {
      const std::string& text = annotation.texts[i];
      sample.dialogues.push_back(kind == ReasonSegAnswer::mask
                                     ? detail::mask_dialogue(text, annotation.is_sentence, mask, random)
                                     : detail::explained_dialogue(text, kind, explanation->second, mask, random));
      sample.dialogues.back().group = annotation.is_sentence ? "long" : "short";
    }
    return sample;
  };
  return {{name, set->images.size(), read}, set->warnings};
}

/// ReasonSeg as LISA validates on it (utils/dataset.py, ValDataset): the first wording of every image, ignored pixels
/// kept. Dialogues are grouped into "long" and "short" as in training.
/// @param name  "ReasonSeg|val", "ReasonSeg|test"
/// @throws as `reason_seg_training`
[[nodiscard]] inline OpenedDataSet reason_seg_evaluation(const std::filesystem::path& base, const std::string& name) {
  const auto set = std::make_shared<const detail::ReasonSegImages>(detail::read_reason_seg(base, name, false));
  const auto read = [set](std::size_t index, Random&) {
    const detail::ReasonSegImage& from = set->images[index];
    const ReasonSegAnnotation& annotation = from.annotation;
    Sample sample{from.name, read_image(from.path), {}};
    Dialogue dialogue{{validation_exchange(annotation.texts.front(), annotation.is_sentence)},
                      {},
                      annotation.is_sentence ? "long" : "short"};
    dialogue.masks.push_back(reason_seg_mask(annotation, sample.image.size()));
    sample.dialogues.push_back(std::move(dialogue));
    return sample;
  };
  return {{name, set->images.size(), read}, set->warnings};
}

}  // namespace lisa
