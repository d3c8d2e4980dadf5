#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/segmentation.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_fields.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/image/read_image.hpp"
#include "lisa/text/image_placeholder.hpp"
#include "lisa/text/seg_mark.hpp"

namespace lisa {

/// A PNG file whose pixels other than 0 form a mask; grey or with a palette.
struct MaskFile {
  std::string path;  ///< relative to the folder of the annotation file, or absolute
};

/// Pixels of an image as annotated: polygons, run lengths or a file. None at all is an empty mask.
using RecordedPixels = std::variant<CocoSegmentation, MaskFile>;

/// A mask of a line: what belongs to it, and what is neither right nor wrong.
struct RecordedMask {
  RecordedPixels foreground;
  std::optional<RecordedPixels> ignored;
};

/// A conversation of a line.
struct RecordedDialogue {
  std::vector<Exchange> exchanges;
  std::vector<RecordedMask> masks;  ///< one per `[SEG]` of the questions and answers, in their order
  std::string group;                ///< what results are broken down by; may be empty
};

/// A line of the project's JSON-lines format: an image and conversations about it (docs/data.md).
struct ImageRecord {
  std::string image;  ///< path, relative to the folder of the annotation file, or absolute
  std::string id;     ///< names the sample; the image's path when the line has none
  std::vector<RecordedDialogue> dialogues;
  std::size_t line = 0;  ///< in its file, from 1
};

/// Lines of a JSON-lines file.
struct ImageRecords {
  std::filesystem::path path;
  std::vector<ImageRecord> records;
};

namespace detail {

/// Reads one line and notes what is wrong with it.
class RecordReader {
 public:
  RecordReader(std::string place, FileDefects& defects) : place_(std::move(place)), defects_(defects) {}

  [[nodiscard]] ImageRecord read(const Json& value) {
    ImageRecord record;
    if (!value.is_object()) {
      add({}, found_expected(json_in_words(value), "an object"));
      return record;
    }
    record.image = text(value, "image", "");
    if (!record.image.empty()) place_ += " (" + quoted(record.image) + ")";
    record.id = value.contains("id") ? text(value, "id", "") : record.image;
    const bool several = value.contains("dialogues");
    if (!several) {
      expect_members(value, "", {"image", "id", "question", "answer", "turns", "masks", "group"});
      record.dialogues.push_back(dialogue(value, ""));
      return record;
    }
    expect_members(value, "", {"image", "id", "dialogues"});
    const Json& dialogues = value["dialogues"];
    if (!dialogues.is_array() || dialogues.empty())
      add("dialogues", found_expected(dialogues.is_array() ? "none" : json_in_words(dialogues), "a list of objects"));
    for (std::size_t i = 0; dialogues.is_array() && i < dialogues.size(); ++i) {
      const std::string field = "dialogues[" + std::to_string(i) + "]";
      if (!dialogues[i].is_object()) {
        add(field, found_expected(json_in_words(dialogues[i]), "an object"));
        continue;
      }
      expect_members(dialogues[i], field + ".", {"question", "answer", "turns", "masks", "group"});
      record.dialogues.push_back(dialogue(dialogues[i], field + "."));
    }
    return record;
  }

 private:
  void add(const std::string& field, const std::string& message) {
    defects_.add(field.empty() ? place_ : place_ + " " + field, message);
  }

  void expect_members(const Json& object, const std::string& prefix, std::initializer_list<std::string_view> names) {
    for (const auto& [name, value] : object.items()) {
      if (std::find(names.begin(), names.end(), name) != names.end()) continue;
      std::string expected;
      for (const std::string_view known : names) expected += (expected.empty() ? "" : ", ") + std::string(known);
      add(prefix + printable(name), "unknown, expected one of " + expected);
    }
  }

  /// A string that is not blank.
  [[nodiscard]] std::string text(const Json& object, const char* name, const std::string& prefix) {
    const auto value = object.find(name);
    if (value == object.end()) {
      add(prefix + name, "missing, expected a string");
      return {};
    }
    if (!value->is_string()) {
      add(prefix + name, found_expected(json_in_words(*value), "a string"));
      return {};
    }
    const auto& found = value->get_ref<const std::string&>();
    if (found.find_first_not_of(" \t\r\n") == std::string::npos) add(prefix + name, "found no text, expected some");
    return found;
  }

  [[nodiscard]] RecordedDialogue dialogue(const Json& object, const std::string& prefix) {
    RecordedDialogue result;
    if (object.contains("turns")) {
      if (object.contains("question") || object.contains("answer"))
        add(prefix + "turns", "found beside question and answer, expected one of the two");
      read_turns(object["turns"], prefix + "turns", result.exchanges);
    } else {
      result.exchanges.push_back(exchange(object, prefix));
    }
    if (object.contains("group")) result.group = text(object, "group", prefix);
    if (object.contains("masks")) read_masks(object["masks"], prefix + "masks", result.masks);
    require_mask_per_mark(result, prefix);
    return result;
  }

  [[nodiscard]] Exchange exchange(const Json& object, const std::string& prefix) {
    Exchange result{text(object, "question", prefix), text(object, "answer", prefix)};
    for (const std::string* words : {&result.question, &result.answer})
      if (words->find(image_placeholder) != std::string::npos)
        add(prefix + (words == &result.question ? "question" : "answer"),
            "found \"" + std::string(image_placeholder) + "\", expected text alone: the image comes first by itself");
    return result;
  }

  void read_turns(const Json& turns, const std::string& field, std::vector<Exchange>& exchanges) {
    if (!turns.is_array() || turns.empty())
      return add(field, found_expected(turns.is_array() ? "none" : json_in_words(turns), "a list of objects"));
    for (std::size_t i = 0; i < turns.size(); ++i) {
      const std::string place = field + "[" + std::to_string(i) + "]";
      if (!turns[i].is_object()) {
        add(place, found_expected(json_in_words(turns[i]), "an object"));
        continue;
      }
      expect_members(turns[i], place + ".", {"question", "answer"});
      exchanges.push_back(exchange(turns[i], place + "."));
    }
  }

  void read_masks(const Json& masks, const std::string& field, std::vector<RecordedMask>& result) {
    if (!masks.is_array()) return add(field, found_expected(json_in_words(masks), "a list of masks"));
    for (std::size_t i = 0; i < masks.size(); ++i) {
      const std::string place = field + "[" + std::to_string(i) + "]";
      RecordedMask& mask = result.emplace_back();
      const Json& value = masks[i];
      if (!value.is_object() || !value.contains("foreground")) {
        mask.foreground = pixels(value, place);
        continue;
      }
      expect_members(value, place + ".", {"foreground", "ignored"});
      mask.foreground = pixels(value["foreground"], place + ".foreground");
      if (value.contains("ignored")) mask.ignored = pixels(value["ignored"], place + ".ignored");
    }
  }

  [[nodiscard]] RecordedPixels pixels(const Json& value, const std::string& field) {
    if (value.is_string()) {
      if (value.get_ref<const std::string&>().empty()) add(field, "found an empty path, expected that of a PNG file");
      return MaskFile{value.get<std::string>()};
    }
    try {
      CocoSegmentation outline = parse_segmentation(value, {{}, field});
      if (outline.dropped_polygons > 0)
        add(field, found_expected("a polygon of one or two points", "three points or more"));
      return outline;
    } catch (const Error& error) {
      add(error.place(), error.message());
      return CocoSegmentation{};
    }
  }

  void require_mask_per_mark(const RecordedDialogue& dialogue, const std::string& prefix) {
    std::size_t marks = 0;
    for (const Exchange& exchange : dialogue.exchanges)
      marks += count_segs(exchange.question) + count_segs(exchange.answer);
    if (marks != dialogue.masks.size())
      add(prefix + "masks", found_expected(std::to_string(dialogue.masks.size()) + " masks",
                                           std::to_string(marks) + ", one per [SEG] of questions and answers"));
  }

  std::string place_;
  FileDefects& defects_;
};

/// A path of an annotation file, from its folder.
[[nodiscard]] inline std::filesystem::path beside(const std::filesystem::path& file, const std::string& path) {
  return file.parent_path() / path;
}

/// The pixels of a mask in an image of `size`. Throws MismatchError for another size; `place` names the mask.
[[nodiscard]] inline BitMask recorded_pixels(const RecordedPixels& pixels, const std::filesystem::path& file,
                                             ImageSize size, const std::string& place) {
  if (const auto* outline = std::get_if<CocoSegmentation>(&pixels)) return segmentation_mask(*outline, size, place);
  const std::filesystem::path path = beside(file, std::get<MaskFile>(pixels).path);
  const LabelMap map = read_label_map(path);
  if (map.size != size)
    throw MismatchError(shown_path(path), place,
                        found_expected(shown_size(map.size) + " pixels", shown_size(size) + " as the image"));
  return pixels_where(map.labels, size, [](std::uint8_t label) { return label != 0; });
}

[[nodiscard]] inline Json segmentation_json(const CocoSegmentation& segmentation) {
  if (segmentation.runs.size() == 1 && segmentation.polygons.empty()) {
    const CocoRle& rle = segmentation.runs.front();
    return {{"size", {rle.size.height, rle.size.width}}, {"counts", compressed_counts(rle)}};
  }
  Json parts = Json::array();
  for (const std::vector<double>& outline : segmentation.polygons) parts.push_back(outline);
  for (const CocoRle& rle : segmentation.runs)
    parts.push_back({{"size", {rle.size.height, rle.size.width}}, {"counts", compressed_counts(rle)}});
  return parts;
}

[[nodiscard]] inline Json pixels_json(const RecordedPixels& pixels) {
  if (const auto* file = std::get_if<MaskFile>(&pixels)) return file->path;
  return segmentation_json(std::get<CocoSegmentation>(pixels));
}

[[nodiscard]] inline Json dialogue_json(const RecordedDialogue& dialogue) {
  Json value = Json::object();
  if (!dialogue.group.empty()) value["group"] = dialogue.group;
  if (dialogue.exchanges.size() == 1) {
    value["question"] = dialogue.exchanges.front().question;
    value["answer"] = dialogue.exchanges.front().answer;
  } else {
    value["turns"] = Json::array();
    for (const Exchange& exchange : dialogue.exchanges)
      value["turns"].push_back({{"question", exchange.question}, {"answer", exchange.answer}});
  }
  if (dialogue.masks.empty()) return value;
  value["masks"] = Json::array();
  for (const RecordedMask& mask : dialogue.masks) {
    Json foreground = pixels_json(mask.foreground);
    if (mask.ignored)
      value["masks"].push_back({{"foreground", std::move(foreground)}, {"ignored", pixels_json(*mask.ignored)}});
    else
      value["masks"].push_back(std::move(foreground));
  }
  return value;
}

}  // namespace detail

/// Reads a file of the project's JSON-lines format: one image with its conversations per line; blank lines are skipped.
/// Every defect of the file is reported at once, with its line and image; images and mask files are not opened yet.
/// @throws FormatError, LimitError, IoError
[[nodiscard]] inline ImageRecords read_json_lines(const std::filesystem::path& path) {
  const MappedFile file(path);
  std::string_view text = file.text();
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  FileDefects defects(file.name());
  ImageRecords result{path, {}};
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = "line " + std::to_string(number);
    try {
      ImageRecord record = detail::RecordReader(place, defects).read(parse_json(line, file.name()));
      record.line = number;
      result.records.push_back(std::move(record));
    } catch (const Error& error) {  // no JSON; its own count of lines is always 1
      const std::string within = error.place().starts_with("line 1, ") ? error.place().substr(8) : error.place();
      defects.add(within.empty() ? place : place + " " + within, error.message());
    }
  }
  file.require_intact();
  if (result.records.empty() && defects.empty()) defects.add("line 1", "found no line, expected one per image");
  defects.throw_if_any();
  return result;
}

/// The sample of a line: its image is read, its masks are made at the image's size.
/// @param file  the annotation file, whose folder the paths of the record start from
/// @throws Error naming image, mask file or line
[[nodiscard]] inline Sample read_record(const ImageRecord& record, const std::filesystem::path& file) {
  Sample sample{file.filename().string() + "|" + record.id, read_image(detail::beside(file, record.image)), {}};
  const std::string line = "line " + std::to_string(record.line) + " (" + quoted(record.id) + ")";
  for (std::size_t d = 0; d < record.dialogues.size(); ++d) {
    const RecordedDialogue& recorded = record.dialogues[d];
    Dialogue& dialogue = sample.dialogues.emplace_back(Dialogue{recorded.exchanges, {}, recorded.group});
    for (std::size_t m = 0; m < recorded.masks.size(); ++m) {
      const std::string place =
          shown_path(file) + " " + line + " dialogue " + std::to_string(d + 1) + " mask " + std::to_string(m + 1);
      LabelMask mask =
          label_mask(detail::recorded_pixels(recorded.masks[m].foreground, file, sample.image.size(), place));
      if (recorded.masks[m].ignored)
        paint(mask, detail::recorded_pixels(*recorded.masks[m].ignored, file, sample.image.size(), place),
              LabelMask::ignored);
      dialogue.masks.push_back(std::move(mask));
    }
  }
  return sample;
}

/// The samples of a JSON-lines file, in the order of its lines.
/// @throws FormatError, LimitError, IoError as `read_json_lines`
[[nodiscard]] inline DataSet json_lines_data_set(const std::filesystem::path& path) {
  const auto lines = std::make_shared<const ImageRecords>(read_json_lines(path));
  return {path.filename().string(), lines->records.size(),
          [lines](std::size_t index, Random&) { return read_record(lines->records[index], lines->path); }};
}

/// A record of `sample` whose masks are compressed run lengths.
/// @param image  path of the picture, as the line is to name it
[[nodiscard]] inline ImageRecord image_record(const Sample& sample, const std::string& image) {
  ImageRecord record{image, sample.id, {}, 0};
  for (const Dialogue& dialogue : sample.dialogues) {
    RecordedDialogue& recorded =
        record.dialogues.emplace_back(RecordedDialogue{dialogue.exchanges, {}, dialogue.group});
    for (const LabelMask& mask : dialogue.masks) {
      const auto runs = [&](const auto& belongs) {
        return CocoSegmentation{{}, {encode_rle(pixels_where(mask.labels, mask.size, belongs))}, 0};
      };
      const bool any_ignored =
          std::find(mask.labels.begin(), mask.labels.end(), LabelMask::ignored) != mask.labels.end();
      RecordedMask out{runs([](std::uint8_t label) { return label != 0 && label != LabelMask::ignored; }), {}};
      if (any_ignored) out.ignored = runs([](std::uint8_t label) { return label == LabelMask::ignored; });
      recorded.masks.push_back(std::move(out));
    }
  }
  return record;
}

/// One line of the format, without line end. Throws InputError for text that is not UTF-8.
[[nodiscard]] inline std::string record_line(const ImageRecord& record) {
  Json value = Json::object();
  value["image"] = record.image;
  if (record.id != record.image) value["id"] = record.id;
  if (record.dialogues.size() == 1) {
    value.update(detail::dialogue_json(record.dialogues.front()));
  } else {
    value["dialogues"] = Json::array();
    for (const RecordedDialogue& dialogue : record.dialogues)
      value["dialogues"].push_back(detail::dialogue_json(dialogue));
  }
  try {
    return value.dump();
  } catch (const Json::exception&) {
    throw InputError("record " + quoted(record.image), "found text that is not UTF-8");
  }
}

/// A JSON-lines file that is written line by line and appears whole or not at all.
class JsonLinesWriter {
 public:
  /// @throws IoError
  explicit JsonLinesWriter(const std::filesystem::path& path) : file_(path) {}

  /// @throws InputError, IoError
  void add(const ImageRecord& record) { file_.append(record_line(record) + "\n"); }
  /// Makes the file durable and gives it its name. @throws IoError
  void commit() { file_.commit(); }

 private:
  AtomicFile file_;
};

}  // namespace lisa
