#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/data/json_lines.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/tabletop/data_set.hpp"
#include "lisa/eval/evaluator.hpp"
#include "lisa/image/mask.hpp"

namespace lisa {

namespace object_lists_detail {

/// What stands behind the last `mark`.
inline std::string behind(std::string_view text, char mark) {
  const std::size_t at = text.rfind(mark);
  return std::string(at == std::string_view::npos ? text : text.substr(at + 1));
}

/// A file's name without folders and ending.
inline std::string stem(std::string_view path) {
  const std::string name = behind(path, '/');
  return name.substr(0, name.rfind('.'));
}

/// Lines of an object list by what samples are called.
class LinesByName {
 public:
  void add(const std::string& id, std::size_t line) {
    by_id_[id].push_back(line);
    by_stem_[stem(id)].insert(id);
  }

  /// The lines of the image with this id or, where only one image has it, this file name without its ending.
  [[nodiscard]] std::vector<std::size_t> find(const std::string& id) const {
    if (const auto exact = by_id_.find(id); exact != by_id_.end()) return exact->second;
    const auto same_stem = by_stem_.find(stem(id));
    if (same_stem == by_stem_.end() || same_stem->second.size() != 1) return {};
    return by_id_.at(*same_stem->second.begin());
  }

 private:
  std::map<std::string, std::vector<std::size_t>> by_id_;
  std::map<std::string, std::set<std::string>> by_stem_;
};

}  // namespace object_lists_detail

/// Objects from a file of the JSON-lines format (docs/data.md): all masks of the lines whose id, or else file name
/// without its ending, is that of the sample, whatever their questions. Of a sample's id counts what stands behind its
/// last '|'. A sample that no line names has no objects.
/// @throws FormatError, LimitError, IoError as `read_json_lines`
[[nodiscard]] inline ObjectSource objects_from_json_lines(const std::filesystem::path& path) {
  const auto list = std::make_shared<const ImageRecords>(read_json_lines(path));
  object_lists_detail::LinesByName names;
  for (std::size_t i = 0; i < list->records.size(); ++i) names.add(list->records[i].id, i);
  return [list, names](const Sample& sample, std::size_t) {
    std::vector<BitMask> objects;
    for (const std::size_t line : names.find(object_lists_detail::behind(sample.id, '|'))) {
      for (const Dialogue& dialogue : read_record(list->records[line], list->path).dialogues)
        for (const LabelMask& mask : dialogue.masks) objects.push_back(foreground(mask));
    }
    return objects;
  };
}

/// The objects that are seen in the scenes of `tabletop_data_set(settings)`.
[[nodiscard]] inline ObjectSource tabletop_objects(const TabletopSettings& settings) {
  return [settings](const Sample&, std::size_t index) {
    const tabletop::Scene scene = tabletop::asked_scene(settings, index).scene;
    std::vector<BitMask> objects;
    for (std::size_t i = 0; i < scene.objects.size(); ++i) objects.push_back(foreground(tabletop::mask_of(scene, {i})));
    return objects;
  };
}

}  // namespace lisa
