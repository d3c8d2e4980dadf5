#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/base/split_at.hpp"
#include "lisa/data/mixture.hpp"
#include "lisa/data/open_data_set.hpp"
#include "lisa/data/semantic_sets.hpp"

namespace lisa {

/// What LISA is trained on, in the words of its options (LISA train_ds.py; lists are separated by "||").
struct LisaMixture {
  std::string dataset = "sem_seg||refer_seg||vqa||reason_seg";
  std::string sample_rates = "9,3,3,1";
  std::string sem_seg_data{default_semantic_sets};
  std::string refer_seg_data = "refclef||refcoco||refcoco+||refcocog";
  std::string vqa_data = "llava_instruct_150k";
  std::string reason_seg_data = "ReasonSeg|train";
};

/// The parts of a mixture, and what was noticed in their files.
struct OpenedMixture {
  std::vector<MixturePart> parts;
  std::vector<std::string> warnings;
};

namespace detail {

/// Names of one part's sets as `open_data_set` knows them.
[[nodiscard]] inline std::vector<std::string> mixture_set_names(const LisaMixture& mixture, const std::string& part) {
  if (part == "sem_seg") return split_at(mixture.sem_seg_data, "||");
  if (part == "reason_seg") return split_at(mixture.reason_seg_data, "||");
  std::vector<std::string> names;
  if (part == "vqa")
    for (const std::string& file : split_at(mixture.vqa_data, "||")) names.push_back("vqa|" + file);
  else if (part == "refer_seg")
    for (const std::string& set : split_at(mixture.refer_seg_data, "||"))
      names.push_back(set + (set == "refcocog" ? "|umd|train" : "|unc|train"));
  else
    throw InputError("dataset", found_expected(quoted(part), "sem_seg, refer_seg, vqa or reason_seg"));
  return names;
}

}  // namespace detail

/// Opens everything that a mixture names below LISA's data folder, for `lisa::mixture` to draw from.
/// @throws InputError for a wrong name or rate, and what opening a set throws
[[nodiscard]] inline OpenedMixture open_lisa_mixture(const std::filesystem::path& folder,
                                                     const LisaMixture& mixture = {},
                                                     const DataSetOptions& options = {}) {
  OpenedMixture result;
  result.parts = mixture_parts(mixture.dataset, mixture.sample_rates, [&](const std::string& part) {
    std::vector<DataSet> sets;
    for (const std::string& name : detail::mixture_set_names(mixture, part)) {
      OpenedDataSet opened = open_data_set(folder, name, Purpose::training, options);
      result.warnings.insert(result.warnings.end(), opened.warnings.begin(), opened.warnings.end());
      sets.push_back(std::move(opened.data_set));
    }
    return sets;
  });
  return result;
}

}  // namespace lisa
