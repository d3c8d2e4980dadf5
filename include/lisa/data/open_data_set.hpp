#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/base/split_at.hpp"
#include "lisa/data/json_lines.hpp"
#include "lisa/data/opened_data_set.hpp"
#include "lisa/data/pick_some.hpp"
#include "lisa/data/reason_seg.hpp"
#include "lisa/data/refer_seg.hpp"
#include "lisa/data/semantic_sets.hpp"
#include "lisa/data/vqa.hpp"

namespace lisa {

/// What a data set is opened for: training draws wordings and some of the questions, evaluation asks a fixed one or
/// all.
enum class Purpose : std::uint8_t { training, evaluation };

/// What the kinds of data sets leave to choose; each takes what concerns it.
struct DataSetOptions {
  std::size_t questions = 3;                ///< about an image at most, in training
  std::optional<double> explanatory = 0.1;  ///< of ReasonSeg's training, see ReasonSegTraining
  bool ignored_is_background = true;        ///< in training, as LISA has it
  ReferLabels refer_labels = ReferLabels::covered;
};

/// A kind of data sets: what its names begin with, and how one is opened.
struct DataSetKind {
  std::string_view form;  ///< of its names, for messages
  bool (*has)(const std::vector<std::string>& name);
  OpenedDataSet (*open)(const std::filesystem::path& folder, const std::string& name, Purpose purpose,
                        const DataSetOptions& options);
};

namespace detail {

[[nodiscard]] inline bool is_semantic_data(std::string_view data) {
  const std::vector<std::string> sets = split_at(default_semantic_sets, "||");
  return std::find(sets.begin(), sets.end(), data) != sets.end();
}

[[nodiscard]] inline OpenedDataSet open_semantic(const std::filesystem::path& folder, const std::string& name,
                                                 Purpose purpose, const DataSetOptions& options) {
  if (purpose == Purpose::evaluation) return {semantic_evaluation_set(folder, name), {}};
  return {semantic_training_set(
              folder, name, {.questions = options.questions, .ignored_is_background = options.ignored_is_background}),
          {}};
}

[[nodiscard]] inline OpenedDataSet open_refer(const std::filesystem::path& folder, const std::string& name,
                                              Purpose purpose, const DataSetOptions& options) {
  if (purpose == Purpose::evaluation) return refer_evaluation(folder, name, options.refer_labels);
  return refer_training(folder, name, {.sentences = options.questions, .labels = options.refer_labels});
}

[[nodiscard]] inline OpenedDataSet open_vqa(const std::filesystem::path& folder, const std::string& name,
                                            Purpose purpose, const DataSetOptions&) {
  if (purpose == Purpose::evaluation)
    throw InputError(quoted(name), "found a set without masks, expected one to evaluate masks on");
  return vqa_training(folder, split_at(name, "|").at(1));
}

[[nodiscard]] inline OpenedDataSet open_reason_seg(const std::filesystem::path& folder, const std::string& name,
                                                   Purpose purpose, const DataSetOptions& options) {
  if (purpose == Purpose::evaluation) return reason_seg_evaluation(folder, name);
  return reason_seg_training(folder, name,
                             {.questions = options.questions,
                              .explanatory = options.explanatory,
                              .ignored_is_background = options.ignored_is_background});
}

/// A JSON-lines file; trained on as the other kinds are, with some of an image's conversations at a time.
[[nodiscard]] inline OpenedDataSet open_json_lines(const std::filesystem::path& file, Purpose purpose,
                                                   const DataSetOptions& options) {
  DataSet whole = json_lines_data_set(file);
  if (purpose == Purpose::evaluation) return {std::move(whole), {}};
  const auto read = [all = whole.read, options](std::size_t index, Random& random) {
    Sample sample = all(index, random);
    std::vector<Dialogue> drawn;
    for (const std::size_t i : pick_some(sample.dialogues.size(), options.questions, random)) {
      drawn.push_back(std::move(sample.dialogues[i]));
      if (!options.ignored_is_background) continue;
      for (LabelMask& mask : drawn.back().masks)
        std::replace(mask.labels.begin(), mask.labels.end(), LabelMask::ignored, std::uint8_t{0});
    }
    sample.dialogues = std::move(drawn);
    return sample;
  };
  return {{whole.name, whole.size, read}, {}};
}

}  // namespace detail

/// The kinds of data sets in LISA's folders; the first that has a name opens it.
inline constexpr std::array<DataSetKind, 4> data_set_kinds{{
    {"ade20k, cocostuff, mapillary, paco_lvis or pascal_part, with |SPLIT to evaluate (\"ade20k|validation\")",
     [](const std::vector<std::string>& name) { return detail::is_semantic_data(name[0]); }, detail::open_semantic},
    {"refclef, refcoco, refcoco+, refcocog or grefcoco with splitter and split (\"refcoco|unc|val\")",
     [](const std::vector<std::string>& name) { return detail::is_refer_data(name[0]); }, detail::open_refer},
    {"vqa|FILE (\"vqa|llava_instruct_150k\")",
     [](const std::vector<std::string>& name) { return name.size() == 2 && name[0] == "vqa"; }, detail::open_vqa},
    {"a folder of reason_seg with its splits (\"ReasonSeg|train_val\")",
     [](const std::vector<std::string>& name) { return name.size() == 2; }, detail::open_reason_seg},
}};

/// Opens a data set: a JSON-lines file, or a set by LISA's name for it in a folder that holds the original's layouts
/// ("ReasonSeg|val", "refcoco|unc|testA", "ade20k|training", "vqa|llava_instruct_150k").
/// @param name  empty for a JSON-lines file
/// @throws InputError for an unknown name, and what opening the set throws
[[nodiscard]] inline OpenedDataSet open_data_set(const std::filesystem::path& where, const std::string& name,
                                                 Purpose purpose, const DataSetOptions& options = {}) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(where, ignored)) {
    if (name.empty()) return detail::open_json_lines(where, purpose, options);
    if (std::filesystem::exists(where, ignored))
      throw InputError(shown_path(where), "data set " + quoted(name), "found a file, expected a folder with this set");
    throw IoError(shown_path(where), "", "found nothing, expected a data folder");
  }
  if (name.empty())
    throw InputError(shown_path(where), "data set", "found a folder and no name, expected which of its sets");
  const std::vector<std::string> parts = split_at(name, "|");
  for (const DataSetKind& kind : data_set_kinds)
    if (kind.has(parts)) return kind.open(where, name, purpose, options);
  std::string forms;
  for (const DataSetKind& kind : data_set_kinds) forms += "\n  " + std::string(kind.form);
  throw InputError("data set", found_expected(quoted(name), "one of:" + forms));
}

}  // namespace lisa
