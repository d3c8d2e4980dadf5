#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "lisa/data/sample.hpp"
#include "lisa/data/sample_source.hpp"
#include "lisa/model/load_options.hpp"
#include "lisa/train/training_run_options.hpp"

namespace lisa::program {

/// What `lisa train` does, with the types of the specification left out.
struct TrainingJob {
  std::string model;          ///< checkpoint folder; from scratch: one with config and tokenizer only
  bool from_scratch = false;  ///< every weight begins with random values
  LoadOptions load{};
  std::uint64_t seed = 0;  ///< of the values that no checkpoint gives
  SampleSource source{};
  const DataSet* validation = nullptr;
  TrainingRunOptions run{};
  TrainingObserver observer{};
  /// Called before the first step with the names of tensors that got random values.
  std::function<void(const std::vector<std::string>& names)> on_initialised{};
  std::filesystem::path checkpoint{};  ///< folder for the trained model; a new name
  c10::ScalarType checkpoint_dtype = c10::kFloat;
};

}  // namespace lisa::program
