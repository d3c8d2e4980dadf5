#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lisa/config/dim.hpp"
#include "lisa/data/loader_options.hpp"
#include "lisa/data/sample_source.hpp"
#include "lisa/eval/metrics.hpp"
#include "lisa/files/json.hpp"
#include "lisa/text/conversation.hpp"
#include "lisa/train/retention.hpp"
#include "lisa/train/step_report.hpp"
#include "lisa/train/trainer_options.hpp"

namespace lisa {

/// A training run around its steps. The defaults are LISA's (train_ds.py).
struct TrainingRunOptions {
  TrainerOptions trainer{};            ///< `trainer.schedule.total` is the length of the run, in steps
  std::filesystem::path folder{};      ///< of the run: states/, events/, pictures/, log.jsonl
  int batch = 2;                       ///< images of a micro-batch
  int accumulation = 10;               ///< micro-batches of a step
  std::int64_t steps_per_epoch = 500;  ///< between validations
  std::int64_t save_every = 0;         ///< steps between states; 0: once an epoch
  Retention retention{};
  BrokenSamples broken = BrokenSamples::stop;
  LoaderOptions loader{};
  dim max_positions = 512;  ///< longest dialogue, the image's positions included
  ConversationTemplate style = llava_v1;
  std::filesystem::path feature_cache{};  ///< folder for features of frozen parts; empty: computed each time
  std::size_t pictures = 6;               ///< validation samples shown after each epoch
  bool state_sums = false;                ///< log a checksum of all weights and moments after every step
  /// Facts that a resumed run must share, such as the names of its data; a flat JSON object.
  Json facts = Json::object();
  /// Asked before every step: ends the run with a saved state.
  std::function<bool()> stop{};
};

/// What is called while a run goes on; each may be empty. Only the process of rank 0 calls them, but for `on_skipped`.
struct TrainingObserver {
  /// The run begins or goes on at this step; messages say what was passed over or cleaned up on the way.
  std::function<void(std::int64_t steps_done, const std::vector<std::string>& messages)> on_start{};
  std::function<void(const StepReport& report)> on_step{};
  std::function<void(std::int64_t epoch, const SegmentationScore& score, bool best)> on_validation{};
  std::function<void(const std::filesystem::path& state)> on_saved{};
  /// A sample that could not be used; another took its place.
  std::function<void(const std::string& message)> on_skipped{};
};

/// How a run ended.
struct TrainingOutcome {
  std::int64_t steps = 0;
  bool finished = false;  ///< else it was stopped and can be resumed
  std::optional<double> best_score{};
};

}  // namespace lisa
