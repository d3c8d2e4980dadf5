#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lisa/data/lisa_mixture.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/sample_source.hpp"

namespace lisa::program {

/// What a run is trained and validated on.
struct TrainingDataOptions {
  std::string data;               ///< folder in LISA's layouts, or a JSON-lines file
  std::vector<std::string> sets;  ///< of the folder; none: LISA's mixture
  LisaMixture mixture;
  std::size_t questions = 3;
  double explanatory = 0.1;
  std::string tabletop;  ///< "pretraining" or "reasoning": the built-in world in place of files
  std::size_t scenes = 1'000'000;
  double descriptions = 4;              ///< of the built-in world: scenes described in words for each one with masks
  std::uint64_t samples_per_epoch = 0;  ///< of a mixture, which has no end; 0: the run's steps
  std::string validation;
  std::string validation_set;
  std::size_t validation_limit = 200;
  std::string skip_broken = "stop";
};

/// Samples to train on, and those to validate on if there are any.
struct TrainingData {
  SampleSource source;
  std::optional<DataSet> validation;
  std::vector<std::string> warnings;
};

void add_training_data_options(CLI::App& command, TrainingDataOptions& options);

/// @param image_side  pixels of the tabletop's scenes: the model's
/// @param samples_per_epoch  of a mixture
/// @throws InputError for options that do not fit together, and what opening the sets throws
[[nodiscard]] TrainingData open_training_data(const TrainingDataOptions& options, int image_side,
                                              std::uint64_t samples_per_epoch, std::uint64_t seed);

}  // namespace lisa::program
