#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/base/split_at.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/sample_source.hpp"

namespace lisa {

/// Data sets of one kind, drawn from with the same chance each.
struct MixturePart {
  std::string name;  ///< "sem_seg"
  double weight = 1;
  std::vector<DataSet> sets;
};

/// Parts from LISA's options: `names` as in --dataset "sem_seg||refer_seg||vqa||reason_seg", `rates` as in
/// --sample_rates "9,3,3,1", one for each name. `open` gives the data sets of a part by its name.
/// @throws InputError when names and rates do not match or a rate is no number, and what `open` throws
[[nodiscard]] inline std::vector<MixturePart> mixture_parts(
    std::string_view names, std::string_view rates,
    const std::function<std::vector<DataSet>(const std::string& name)>& open) {
  const std::vector<std::string> name_list = split_at(names, "||"), rate_list = split_at(rates, ",");
  if (name_list.size() != rate_list.size())
    throw InputError("sample rates",
                     found_expected(quoted(rates), "as many numbers as there are names in " + quoted(names)));
  std::vector<double> weights;
  for (const std::string& rate : rate_list) {
    double weight = 0;
    const auto [end, error] = std::from_chars(rate.data(), rate.data() + rate.size(), weight);
    if (error != std::errc() || end != rate.data() + rate.size())
      throw InputError("sample rates", found_expected(quoted(rate), "a number"));
    weights.push_back(weight);
  }
  std::vector<MixturePart> parts;
  for (std::size_t i = 0; i < name_list.size(); ++i) parts.push_back({name_list[i], weights[i], open(name_list[i])});
  return parts;
}

namespace mixture_detail {

inline void require_drawable(const std::vector<MixturePart>& parts) {
  Defects defects;
  double total = 0;
  for (const MixturePart& part : parts) {
    if (!(part.weight >= 0) || !std::isfinite(part.weight))
      defects.add(found_expected(printable(part.name) + " with weight " + std::to_string(part.weight),
                                 "a weight of at least 0"));
    else
      total += part.weight;
    if (part.sets.empty()) defects.add(found_expected(printable(part.name) + " without data sets", "at least one"));
    for (const DataSet& set : part.sets)
      if (set.size == 0) defects.add(found_expected(printable(set.name) + " without samples", "at least one"));
  }
  if (defects.empty() && !(total > 0))
    defects.add(found_expected("weights that sum to " + std::to_string(total), "a positive sum"));
  if (!defects.empty()) throw InputError("mixture", defects.report("unusable parts"));
}

/// A part by its share of the weights, then one of its sets.
inline const DataSet& draw_set(const std::vector<MixturePart>& parts, Random& random) {
  double total = 0;
  for (const MixturePart& part : parts) total += part.weight;
  double left = random.uniform() * total;
  const MixturePart* drawn = nullptr;
  for (const MixturePart& part : parts) {
    if (part.weight == 0) continue;
    drawn = &part;
    left -= part.weight;
    if (left < 0) break;
  }
  return random.pick(drawn->sets);
}

}  // namespace mixture_detail

/// Samples drawn with replacement: a part by weight, one of its sets, one of its samples, the last two uniformly, as
/// LISA's HybridDataset does with `--dataset` and `--sample_rates` (LISA utils/dataset.py, train_ds.py; the paper's
/// training takes sem_seg 9, refer_seg 3, vqa 3, reason_seg 1).
/// @param samples_per_epoch size of the source, which has no natural end
/// @throws InputError for an unusable weight or an empty part or set, naming all of them
[[nodiscard]] inline SampleSource mixture(std::vector<MixturePart> parts, std::uint64_t samples_per_epoch,
                                          std::uint64_t seed) {
  mixture_detail::require_drawable(parts);
  SampleSource source{.name = {}, .size = samples_per_epoch, .attempts = usual_attempts, .read = {}};
  for (const MixturePart& part : parts) source.name += (source.name.empty() ? "" : "||") + part.name;
  source.read = [parts = std::move(parts), seed](const SamplePlace& place, std::uint64_t attempt) {
    Random random({seed, place.epoch, place.index, attempt});
    const DataSet& set = mixture_detail::draw_set(parts, random);
    const std::uint64_t index = random.below(set.size);
    return set.read(static_cast<std::size_t>(index), random);
  };
  return source;
}

}  // namespace lisa
