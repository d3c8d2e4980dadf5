#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/eval/metrics.hpp"
#include "lisa/files/json.hpp"
#include "lisa/image/mask_json.hpp"
#include "lisa/image/rle.hpp"
#include "lisa/text/seg_mark.hpp"

namespace lisa {

/// A way to come by masks.
enum class Method {
  teacher_forced,  ///< the model reads the right answer and gives masks for its `[SEG]`
  free_running,    ///< the model answers, and hears its own answers in later turns
  whole_image,     ///< baseline: every pixel
  largest_object,  ///< baseline: the largest object of the image, whatever the question
  random_object    ///< baseline: any object of the image
};
inline constexpr std::array<std::pair<Method, std::string_view>, 5> method_names{
    {{Method::teacher_forced, "teacher_forced"},
     {Method::free_running, "free_running"},
     {Method::whole_image, "whole_image"},
     {Method::largest_object, "largest_object"},
     {Method::random_object, "random_object"}}};

[[nodiscard]] constexpr std::string_view to_string(Method method) {
  for (const auto& [known, name] : method_names)
    if (known == method) return name;
  return "";
}

/// What one method gave for one dialogue.
struct MethodResult {
  Method method{};
  std::vector<MaskOverlap> overlaps{};     ///< one for every mask of the dialogue; a missing prediction counts as empty
  std::vector<MaskOverlap> surplus{};      ///< non-empty predictions that no mask of the dialogue belongs to
  std::vector<CocoRle> masks{};            ///< the model's masks in the order of their tokens; none for baselines
  std::vector<std::string> answers{};      ///< of a model that speaks: one for each exchange
  std::vector<std::size_t> mask_counts{};  ///< of a model that speaks: its masks in each exchange
  bool operator==(const MethodResult&) const = default;
};

/// A dialogue and what every method gave for it.
struct DialogueRecord {
  std::string group{};                ///< as `Dialogue::group`
  std::vector<Exchange> exchanges{};  ///< questions and the right answers
  std::vector<MethodResult> results{};
  bool operator==(const DialogueRecord&) const = default;

  /// The result of a method, or nullptr where it was not run.
  [[nodiscard]] const MethodResult* find(Method method) const {
    const auto found = std::ranges::find(results, method, &MethodResult::method);
    return found == results.end() ? nullptr : &*found;
  }
};

/// An evaluated sample.
struct SampleRecord {
  std::size_t index = 0;  ///< in its data set
  std::string id{};
  std::vector<DialogueRecord> dialogues{};
  bool operator==(const SampleRecord&) const = default;
};

/// Masks that belong to an exchange.
[[nodiscard]] constexpr std::size_t expected_masks(const Exchange& exchange) {
  return count_segs(exchange.question) + count_segs(exchange.answer);
}

namespace record_detail {

inline Json overlaps_json(const std::vector<MaskOverlap>& overlaps) {
  Json list = Json::array();
  for (const MaskOverlap& overlap : overlaps) list.push_back({overlap.predicted, overlap.target, overlap.intersection});
  return list;
}

inline Json result_json(const MethodResult& result) {
  Json json{{"overlaps", overlaps_json(result.overlaps)}};
  if (!result.surplus.empty()) json["surplus"] = overlaps_json(result.surplus);
  if (!result.answers.empty()) json["answers"] = result.answers;
  if (!result.mask_counts.empty()) json["mask_counts"] = result.mask_counts;
  if (!result.masks.empty()) json["masks"] = Json::array();
  for (const CocoRle& mask : result.masks)
    json["masks"].push_back({{"counts", compressed_counts(mask)}, {"size", {mask.size.height, mask.size.width}}});
  return json;
}

/// What a record's members must be, in the words of an error.
[[noreturn]] inline void reject(const std::string& found, const std::string& expected) {
  throw FormatError({}, {}, found_expected(found, expected));
}

inline const Json& member(const Json& object, const char* name) {
  if (!object.is_object() || !object.contains(name)) reject("no \"" + std::string(name) + "\"", "one");
  return object.at(name);
}

inline const Json& list(const Json& value, const char* what) {
  if (!value.is_array()) reject("no list", "a list of " + std::string(what));
  return value;
}

inline std::string text(const Json& value) {
  if (!value.is_string()) reject(printable(value.dump(), 40), "a text");
  return value.get<std::string>();
}

inline std::int64_t count(const Json& value) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > std::uint64_t{1} << 53)
    reject(printable(value.dump(), 40), "a count");
  return value.get<std::int64_t>();
}

inline std::vector<MaskOverlap> parse_overlaps(const Json& json) {
  std::vector<MaskOverlap> overlaps;
  for (const Json& entry : list(json, "overlaps")) {
    if (list(entry, "areas").size() != 3) reject(printable(entry.dump(), 40), "[predicted, target, intersection]");
    const MaskOverlap overlap{count(entry[0]), count(entry[1]), count(entry[2])};
    if (overlap.intersection > std::min(overlap.predicted, overlap.target))
      reject(printable(entry.dump(), 40), "an intersection within both areas");
    overlaps.push_back(overlap);
  }
  return overlaps;
}

inline CocoRle parse_mask(const Json& json) {
  const Json& size = list(member(json, "size"), "height and width");
  if (size.size() != 2) reject(printable(size.dump(), 40), "[height, width]");
  return parse_compressed_counts(text(member(json, "counts")), count(size[0]), count(size[1]));
}

inline MethodResult parse_result(const std::string& name, const Json& json) {
  const auto known = std::ranges::find(method_names, name, &std::pair<Method, std::string_view>::second);
  if (known == method_names.end()) reject("the method " + quoted(name), "a known one");
  MethodResult result{.method = known->first, .overlaps = parse_overlaps(member(json, "overlaps"))};
  if (json.contains("surplus")) result.surplus = parse_overlaps(json.at("surplus"));
  if (json.contains("answers"))
    for (const Json& answer : list(json.at("answers"), "texts")) result.answers.push_back(text(answer));
  if (json.contains("mask_counts"))
    for (const Json& masks : list(json.at("mask_counts"), "counts"))
      result.mask_counts.push_back(static_cast<std::size_t>(count(masks)));
  if (json.contains("masks"))
    for (const Json& mask : list(json.at("masks"), "masks")) result.masks.push_back(parse_mask(mask));
  if (result.answers.size() != result.mask_counts.size())
    reject(std::to_string(result.answers.size()) + " answers and " + std::to_string(result.mask_counts.size()) +
               " mask counts",
           "as many of both");
  return result;
}

inline DialogueRecord parse_dialogue(const Json& json) {
  DialogueRecord dialogue{.group = text(member(json, "group"))};
  for (const Json& exchange : list(member(json, "exchanges"), "exchanges"))
    dialogue.exchanges.push_back({text(member(exchange, "question")), text(member(exchange, "answer"))});
  const Json& results = member(json, "results");
  if (!results.is_object()) reject("no object", "results by method");
  for (const auto& [name, result] : results.items()) dialogue.results.push_back(parse_result(name, result));
  return dialogue;
}

}  // namespace record_detail

/// A record as one JSON object: `{"sample", "index", "dialogues": [{"group", "exchanges": [{"question", "answer"}],
/// "results": {METHOD: {"overlaps": [[predicted, target, intersection]], "surplus", "answers", "mask_counts",
/// "masks": [COCO RLE]}}}]}`. Lists without members are left out, apart from the overlaps.
[[nodiscard]] inline Json record_json(const SampleRecord& record) {
  Json json{{"sample", record.id}, {"index", record.index}, {"dialogues", Json::array()}};
  for (const DialogueRecord& dialogue : record.dialogues) {
    Json entry{{"group", dialogue.group}, {"exchanges", Json::array()}, {"results", Json::object()}};
    for (const Exchange& exchange : dialogue.exchanges)
      entry["exchanges"].push_back({{"question", exchange.question}, {"answer", exchange.answer}});
    for (const MethodResult& result : dialogue.results)
      entry["results"][std::string(to_string(result.method))] = record_detail::result_json(result);
    json["dialogues"].push_back(std::move(entry));
  }
  return json;
}

/// The record that `record_json` wrote. @throws FormatError for anything else
[[nodiscard]] inline SampleRecord parse_record(const Json& json) {
  using namespace record_detail;
  SampleRecord record{.index = static_cast<std::size_t>(count(member(json, "index"))),
                      .id = text(member(json, "sample"))};
  for (const Json& dialogue : list(member(json, "dialogues"), "dialogues"))
    record.dialogues.push_back(parse_dialogue(dialogue));
  return record;
}

}  // namespace lisa
