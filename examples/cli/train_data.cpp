#include "train_data.hpp"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/mixture.hpp"
#include "lisa/data/open_data_set.hpp"
#include "lisa/data/tabletop/data_set.hpp"

namespace lisa::program {
namespace {

constexpr int questions_of_a_description = 2;

/// The tabletop world's scenes, drawn when they are read. Reasoning comes mixed with as many scenes of pretraining, as
/// LISA mixes ReasonSeg with the rest, so that what was learnt before stays; in both, scenes are described in words
/// beside those with masks. Validation has scenes of its own.
TrainingData tabletop_data(const TrainingDataOptions& options, int image_side, std::uint64_t samples_per_epoch,
                           std::uint64_t seed) {
  TabletopSettings pretraining;
  pretraining.scene.side = image_side;
  pretraining.style.naming_answers = true;
  pretraining.seed = seed + 1;
  pretraining.scenes = options.scenes;
  pretraining.questions = static_cast<int>(options.questions);
  TabletopSettings held_out = pretraining;
  held_out.split = TabletopSplit::scenes;
  held_out.scenes = options.validation_limit;
  held_out.shares = tabletop_mask_shares();
  TabletopSettings described = pretraining;
  described.questions = questions_of_a_description;
  described.shares = tabletop_description_shares();
  described.seed = seed + 3;
  described.scenes = TrainingDataOptions().scenes;
  std::vector<MixturePart> parts;
  TrainingData data;
  if (options.tabletop == "reasoning") {
    TabletopSettings reasoning = pretraining;
    reasoning.questions = 1;  // a scene is a sample, as an image of ReasonSeg is
    reasoning.shares = tabletop_reasoning_shares();
    pretraining.scenes = TrainingDataOptions().scenes;
    pretraining.seed = seed + 2;
    parts.push_back({.name = "reasoning", .weight = 1, .sets = {tabletop_data_set(reasoning)}});
  }
  parts.push_back({.name = "pretraining", .weight = 1, .sets = {tabletop_data_set(pretraining)}});
  if (options.descriptions > 0)
    parts.push_back({.name = "descriptions", .weight = options.descriptions, .sets = {tabletop_data_set(described)}});
  data.source = parts.size() == 1 ? shuffled(parts[0].sets[0], seed) : mixture(parts, samples_per_epoch, seed);
  if (options.validation_limit > 0) data.validation = tabletop_data_set(held_out);
  return data;
}

DataSet opened(const std::string& where, const std::string& name, Purpose purpose, const DataSetOptions& options,
               std::vector<std::string>& warnings) {
  OpenedDataSet set = open_data_set(where, name, purpose, options);
  warnings.insert(warnings.end(), set.warnings.begin(), set.warnings.end());
  if (set.data_set.size == 0)
    throw InputError(printable(where), "data set " + quoted(set.data_set.name),
                     "found no samples, expected at least one");
  return std::move(set.data_set);
}

TrainingData files_data(const TrainingDataOptions& options, std::uint64_t samples_per_epoch, std::uint64_t seed) {
  const DataSetOptions drawn{
      .questions = options.questions,
      .explanatory = options.explanatory < 0 ? std::nullopt : std::optional(options.explanatory)};
  TrainingData data;
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(options.data, ignored);
  if (folder && options.sets.empty()) {
    OpenedMixture mixed = open_lisa_mixture(options.data, options.mixture, drawn);
    data.warnings = std::move(mixed.warnings);
    data.source = mixture(std::move(mixed.parts), samples_per_epoch, seed);
    return data;
  }
  std::vector<DataSet> sets;
  for (const std::string& name : folder ? options.sets : std::vector<std::string>{""})
    sets.push_back(opened(options.data, name, Purpose::training, drawn, data.warnings));
  if (sets.size() == 1)
    data.source = shuffled(std::move(sets.front()), seed);
  else
    data.source = mixture({{.name = "sets", .weight = 1, .sets = std::move(sets)}}, samples_per_epoch, seed);
  return data;
}

}  // namespace

void add_training_data_options(CLI::App& command, TrainingDataOptions& options) {
  const auto group = "Data";
  command.add_option("--data", options.data, "JSON-lines file of your own, or a folder in LISA's layouts")
      ->group(group);
  command
      .add_option("--set", options.sets, "set of the folder, may be repeated; without any, LISA's mixture: --dataset")
      ->group(group);
  command.add_option("--dataset", options.mixture.dataset, "kinds of the mixture")->capture_default_str()->group(group);
  command.add_option("--sample-rates", options.mixture.sample_rates, "their weights")
      ->capture_default_str()
      ->group(group);
  command.add_option("--sem-seg-data", options.mixture.sem_seg_data, "sets of sem_seg")
      ->capture_default_str()
      ->group(group);
  command.add_option("--refer-seg-data", options.mixture.refer_seg_data, "sets of refer_seg")
      ->capture_default_str()
      ->group(group);
  command.add_option("--vqa-data", options.mixture.vqa_data, "sets of vqa")->capture_default_str()->group(group);
  command.add_option("--reason-seg-data", options.mixture.reason_seg_data, "sets of reason_seg")
      ->capture_default_str()
      ->group(group);
  command.add_option("--questions", options.questions, "conversations about an image in one step, at most")
      ->check(CLI::Range(1, 64))
      ->capture_default_str()
      ->group(group);
  command.add_option("--explanatory", options.explanatory, "share of ReasonSeg's answers in words; below 0: none")
      ->capture_default_str()
      ->group(group);
  command
      .add_option(
          "--tabletop", options.tabletop,
          "the built-in world in place of files: pretraining (facts in words only), or reasoning, one question about "
          "each of --scenes, mixed with pretraining")
      ->check(CLI::IsMember({"pretraining", "reasoning"}))
      ->group(group);
  command.add_option("--scenes", options.scenes, "of the built-in world")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--descriptions", options.descriptions,
                  "scenes of the built-in world that are described in words, for each one with masks")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(group);
  command.add_option("--val-data", options.validation, "data to validate on; as --data")->group(group);
  command.add_option("--val-set", options.validation_set, "set to validate on; with a folder alone, one of --data's")
      ->group(group);
  command.add_option("--val-limit", options.validation_limit, "samples to validate on at most")
      ->capture_default_str()
      ->group(group);
  command.add_option("--broken", options.skip_broken, "what a sample that cannot be used does: stop, or skip it")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str()
      ->group(group);
}

TrainingData open_training_data(const TrainingDataOptions& options, int image_side, std::uint64_t samples_per_epoch,
                                std::uint64_t seed) {
  if (options.tabletop.empty() == options.data.empty())
    throw InputError(
        "data", found_expected(options.data.empty() ? "neither --data nor --tabletop" : "both --data and --tabletop",
                               "one of the two"));
  TrainingData data = options.data.empty() ? tabletop_data(options, image_side, samples_per_epoch, seed)
                                           : files_data(options, samples_per_epoch, seed);
  const std::string where =
      options.validation.empty() && !options.validation_set.empty() ? options.data : options.validation;
  if (!where.empty()) data.validation = opened(where, options.validation_set, Purpose::evaluation, {}, data.warnings);
  if (data.validation) data.validation->size = std::min(data.validation->size, options.validation_limit);
  if (data.validation && data.validation->size == 0) data.validation.reset();
  return data;
}

}  // namespace lisa::program
