#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/base/split_at.hpp"
#include "lisa/data/ade20k.hpp"
#include "lisa/data/annotated_objects.hpp"
#include "lisa/data/coco_stuff.hpp"
#include "lisa/data/mapillary.hpp"
#include "lisa/data/paco_lvis.hpp"
#include "lisa/data/pascal_part.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/semantic.hpp"

namespace lisa {

/// The semantic sets of LISA's training by default (LISA train_ds.py, --sem_seg_data).
inline constexpr std::string_view default_semantic_sets = "ade20k||cocostuff||pascal_part||paco_lvis||mapillary";

namespace semantic_sets_detail {

/// Opens the set called `name` and hands its files to `use`.
template <class Use>
DataSet open(const std::filesystem::path& root, const std::string& name, const std::string& split, const Use& use) {
  if (name == "ade20k") return use(ade20k_files(root, split.empty() ? "training" : split));
  if (name == "cocostuff") return use(coco_stuff_files(root, split.empty() ? "train2017" : split));
  if (name == "mapillary") return use(mapillary_files(root, split.empty() ? "training" : split));
  if (name == "paco_lvis") return use(paco_lvis_objects(root, split.empty() ? "train" : split));
  if (name == "pascal_part") return use(pascal_part_objects(root, split.empty() ? "train" : split));
  throw InputError("semantic set", found_expected(quoted(name), "one of " + std::string(default_semantic_sets)));
}

}  // namespace semantic_sets_detail

/// The set that `name` means to train on: "ade20k", or with another split than LISA's "ade20k|validation".
/// @throws InputError for an unknown set, and what opening the set throws
[[nodiscard]] inline DataSet semantic_training_set(const std::filesystem::path& root, std::string_view name,
                                                   const SemanticTraining& options = {}) {
  struct Train {
    const SemanticTraining& options;
    DataSet operator()(SemanticFiles files) const { return semantic_training(std::move(files), options); }
    DataSet operator()(AnnotatedObjects objects) const {
      return object_training(std::move(objects), options.questions);
    }
  };
  const std::vector<std::string> parts = split_at(name, "|");
  if (parts.size() > 2) throw InputError("semantic set", found_expected(quoted(name), "SET or SET|SPLIT"));
  return semantic_sets_detail::open(root, parts[0], parts.size() == 2 ? parts[1] : std::string(), Train{options});
}

/// The training sets that `names` lists, separated by "||", below LISA's data folder `root`.
/// @throws as `semantic_training_set`
[[nodiscard]] inline std::vector<DataSet> semantic_training_sets(const std::filesystem::path& root,
                                                                 std::string_view names = default_semantic_sets,
                                                                 const SemanticTraining& options = {}) {
  std::vector<DataSet> sets;
  for (const std::string& name : split_at(names, "||")) sets.push_back(semantic_training_set(root, name, options));
  return sets;
}

/// The set that `name` means, "ade20k|validation" for instance, to evaluate on.
/// @throws InputError for an unknown set or without a split, and what opening the set throws
[[nodiscard]] inline DataSet semantic_evaluation_set(const std::filesystem::path& root, std::string_view name) {
  struct Evaluate {
    DataSet operator()(SemanticFiles files) const { return semantic_evaluation(std::move(files)); }
    DataSet operator()(AnnotatedObjects objects) const { return object_evaluation(std::move(objects)); }
  };
  const std::vector<std::string> parts = split_at(name, "|");
  if (parts.size() != 2 || parts[1].empty())
    throw InputError("semantic set", found_expected(quoted(name), "SET|SPLIT as in \"ade20k|validation\""));
  return semantic_sets_detail::open(root, parts[0], parts[1], Evaluate{});
}

}  // namespace lisa
