#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/data/open_data_set.hpp"
#include "lisa/files/file_names.hpp"
#include "lisa/files/json_items.hpp"
#include "lisa/files/pickle_items.hpp"

namespace lisa {

/// Where a data set is and what `open_data_set` needs for it.
struct FoundDataSet {
  std::filesystem::path where;
  std::string name;  ///< empty for a JSON-lines file
  Purpose purpose = Purpose::evaluation;
};

namespace detail {

/// Names of the folders in `folder`, sorted; none when it cannot be read.
[[nodiscard]] inline std::vector<std::string> folder_names(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (entry->is_directory(error)) names.push_back(entry->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// `file_stems`, or none when the folder is not there.
[[nodiscard]] inline std::vector<std::string> stems_if_any(const std::filesystem::path& folder,
                                                           std::string_view extension) {
  std::error_code ignored;
  return std::filesystem::is_directory(folder, ignored) ? file_stems(folder, extension) : std::vector<std::string>{};
}

inline void find_reason_seg(const std::filesystem::path& base, std::vector<FoundDataSet>& found) {
  std::error_code ignored;
  for (const std::string& set : folder_names(base / "reason_seg"))
    for (const std::string& split : folder_names(base / "reason_seg" / set)) {
      if (stems_if_any(base / "reason_seg" / set / split, ".jpg").empty()) continue;
      found.push_back({base, set + "|" + split, Purpose::evaluation});
      if (split == "train" &&
          std::filesystem::exists(base / "reason_seg" / set / "explanatory" / "train.json", ignored))
        found.push_back({base, set + "|train", Purpose::training});
    }
}

/// The splits that a file of references names, in its order; a broken file is left to whoever opens the set.
[[nodiscard]] inline std::vector<std::string> refer_splits(const std::filesystem::path& file) {
  std::vector<std::string> splits;
  const auto note = [&](const Json& ref) {
    const auto split = ref.is_object() ? ref.find("split") : ref.end();
    if (!ref.is_object() || split == ref.end() || !split->is_string()) return;
    const auto& name = split->get_ref<const std::string&>();
    if (std::find(splits.begin(), splits.end(), name) == splits.end()) splits.push_back(name);
  };
  try {
    if (file.extension() == ".p")
      read_pickle_items(file, [&](std::size_t, Json&& ref) { note(ref); });
    else
      read_json_items(
          file, [](std::string_view member) { return member.empty(); },
          [&](std::string_view, std::size_t, Json&& ref) { note(ref); });
  } catch (const Error&) {
    if (splits.empty()) splits.emplace_back("train");
  }
  return splits;
}

inline void find_refer_seg(const std::filesystem::path& base, std::vector<FoundDataSet>& found) {
  for (const std::string& data : folder_names(base / "refer_seg")) {
    if (!is_refer_data(data)) continue;
    const std::filesystem::path folder = base / "refer_seg" / data;
    const std::string prefix = data == "grefcoco" ? "grefs(" : "refs(";
    for (const char* extension : {".p", ".json"})
      for (const std::string& stem : stems_if_any(folder, extension)) {
        if (!stem.starts_with(prefix) || !stem.ends_with(")")) continue;
        const std::string splitter = stem.substr(prefix.size(), stem.size() - prefix.size() - 1);
        for (const std::string& split : refer_splits(folder / (stem + extension)))
          found.push_back({base, data + "|" + splitter + "|" + split, Purpose::evaluation});
      }
  }
}

inline void find_semantic(const std::filesystem::path& base, std::vector<FoundDataSet>& found) {
  const auto add_folders = [&](const std::string& set, const std::filesystem::path& folder) {
    for (const std::string& split : folder_names(folder))
      found.push_back({base, set + "|" + split, Purpose::evaluation});
  };
  add_folders("ade20k", base / "ade20k" / "annotations");
  add_folders("cocostuff", base / "cocostuff");
  add_folders("mapillary", base / "mapillary");
  const std::string paco = "paco_lvis_v1_";
  for (const std::string& stem : stems_if_any(base / "vlpart" / "paco" / "annotations", ".json"))
    if (stem.starts_with(paco)) found.push_back({base, "paco_lvis|" + stem.substr(paco.size()), Purpose::evaluation});
  for (const std::string& stem : stems_if_any(base / "vlpart" / "pascal_part", ".json"))
    found.push_back({base, "pascal_part|" + stem, Purpose::evaluation});
}

}  // namespace detail

/// The data sets in a folder, told by the original's layouts, and its JSON-lines files; a JSON-lines file is one
/// itself. Nothing is opened but the files of references, for their splits.
/// @throws IoError when nothing is there
[[nodiscard]] inline std::vector<FoundDataSet> find_data_sets(const std::filesystem::path& where) {
  std::error_code ignored;
  if (!std::filesystem::exists(where, ignored))
    throw IoError(shown_path(where), "", "found nothing, expected a data folder or a JSON-lines file");
  if (!std::filesystem::is_directory(where, ignored)) return {{where, {}, Purpose::evaluation}};
  std::vector<FoundDataSet> found;
  detail::find_semantic(where, found);
  detail::find_refer_seg(where, found);
  for (const std::string& stem : detail::stems_if_any(where / "llava_dataset", ".json"))
    found.push_back({where, "vqa|" + stem, Purpose::training});
  detail::find_reason_seg(where, found);
  for (const std::string& stem : file_stems(where, ".jsonl"))
    found.push_back({where / (stem + ".jsonl"), {}, Purpose::evaluation});
  return found;
}

}  // namespace lisa
