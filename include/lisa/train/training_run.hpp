#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/stopwatch.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/sample_source.hpp"
#include "lisa/files/crc32c.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/writable_folder.hpp"
#include "lisa/image/write_png.hpp"
#include "lisa/model/loaded_model.hpp"
#include "lisa/text/conversation.hpp"
#include "lisa/train/feature_cache.hpp"
#include "lisa/train/process_group.hpp"
#include "lisa/train/step_report.hpp"
#include "lisa/train/tensorboard_events.hpp"
#include "lisa/train/train_state.hpp"
#include "lisa/train/train_state_store.hpp"
#include "lisa/train/trainer.hpp"
#include "lisa/train/training_log.hpp"
#include "lisa/train/training_run_options.hpp"
#include "lisa/train/training_source.hpp"
#include "lisa/train/validation.hpp"

namespace lisa {

namespace detail {

/// Everything that happens around the steps of one process.
template <ModelSpec S>
class TrainingRun {
 public:
  TrainingRun(LoadedModel<S>& loaded, SampleSource source, const DataSet* validation, const TrainingRunOptions& options,
              ProcessGroup& group, const TrainingObserver& observer)
      : loaded_(loaded),
        source_(std::move(source)),
        validation_(validation),
        options_(options),
        group_(group),
        observer_(observer),
        trainer_(loaded.model, options.trainer, group) {
    require_valid();
    if (!options.feature_cache.empty()) cache_.emplace(options.feature_cache, loaded.model, options.trainer.parts);
  }

  TrainingOutcome run() {
    begin();
    Loader<TrainingItem> loader = make_loader();
    while (trainer_.steps() < total_steps()) {
      if (stop_wanted()) {
        save();
        return {trainer_.steps(), false, best_score_};
      }
      step(loader);
      const bool last = trainer_.steps() == total_steps();
      const bool epoch_ends = trainer_.steps() % options_.steps_per_epoch == 0 || last;
      if (epoch_ends) validate();
      if (epoch_ends || trainer_.steps() % save_every() == 0) save();
    }
    return {trainer_.steps(), true, best_score_};
  }

 private:
  [[nodiscard]] bool is_first() const { return group_.rank() == 0; }
  [[nodiscard]] std::int64_t total_steps() const { return options_.trainer.schedule.total; }
  [[nodiscard]] std::int64_t save_every() const {
    return options_.save_every > 0 ? options_.save_every : options_.steps_per_epoch;
  }
  /// Samples that a process takes in a step.
  [[nodiscard]] std::int64_t samples_per_step() const { return std::int64_t{options_.batch} * options_.accumulation; }

  void require_valid() const {
    Defects defects;
    for (const auto& [name, value] :
         {std::pair{"batch", std::int64_t{options_.batch}},
          std::pair{"accumulation", std::int64_t{options_.accumulation}}, std::pair{"steps", total_steps()},
          std::pair{"steps per epoch", options_.steps_per_epoch}})
      if (value < 1) defects.add(std::string(name) + ": " + found_expected(std::to_string(value), "at least 1"));
    if (!defects.empty()) throw InputError("training run", defects.report("numbers cannot be used"));
  }

  /// What a run must have in common with the one that it resumes.
  [[nodiscard]] Json facts() const {
    Json facts = options_.facts;
    const TrainerOptions& trainer = options_.trainer;
    facts.update(Json{{"specification", std::string(S::name)},
                      {"samples", source_.size},
                      {"data", source_.name},
                      {"samples_per_step", samples_per_step() * group_.size()},
                      {"steps", total_steps()},
                      {"learning_rate", trainer.schedule.peak},
                      {"warmup", trainer.schedule.warmup},
                      {"decay", static_cast<int>(trainer.schedule.decay)},
                      {"beta1", trainer.optimiser.beta1},
                      {"beta2", trainer.optimiser.beta2},
                      {"weight_decay", trainer.optimiser.weight_decay},
                      {"ce_weight", trainer.weights.ce},
                      {"bce_weight", trainer.weights.bce},
                      {"dice_weight", trainer.weights.dice},
                      {"max_gradient_norm", trainer.max_gradient_norm},
                      {"seed", trainer.seed}});
    return facts;
  }

  /// Finds the newest state, makes sure that all processes have the same, and opens what rank 0 writes.
  void begin() {
    const Json own_facts = facts();
    std::string parameters;
    for (const TrainedParameter& parameter : trainer_.parameters()) parameters += parameter.name + "\n";
    const std::filesystem::path states = options_.folder / "states";
    std::vector<std::string> messages;
    // Rank 0 cleans up before the others look.
    if (is_first()) {
      store_.emplace(states, options_.retention);
      for (const std::string& left : store_->cleaned()) messages.push_back("removed an unfinished state, " + left);
    }
    group_.barrier();
    std::optional<NewestState> newest = read_newest_train_state(states);
    require_same_everywhere(group_,
                            {{"run", own_facts.dump()},
                             {"trained parameters", parameters},
                             {"step of the newest state", newest ? std::to_string(newest->state.step) : "none"}});
    if (newest) resume(*newest, own_facts, messages);
    if (is_first()) {
      const std::filesystem::path events = options_.folder / "events";
      for (const std::filesystem::path& made : {events, options_.folder / "pictures"}) make_writable_folder(made);
      log_.emplace(options_.folder / "log.jsonl", trainer_.steps());
      events_.emplace(events, wall_clock(), "lisa." + std::to_string(trainer_.steps()));
    }
    if (is_first() && observer_.on_start) observer_.on_start(trainer_.steps(), messages);
  }

  void resume(NewestState& newest, const Json& own_facts, std::vector<std::string>& messages) {
    require_resumable(newest.state, {.run = own_facts, .steps = total_steps(), .tensors = {}},
                      shown_path(newest.folder));
    trainer_.restore(newest.state.tensors, newest.state.step);
    best_score_ = newest.state.best_score;
    for (const std::string& reason : newest.passed_over) messages.push_back("passed over a state: " + reason);
  }

  [[nodiscard]] Loader<TrainingItem> make_loader() {
    TrainingSourceOptions options{.rank = static_cast<std::uint64_t>(group_.rank()),
                                  .ranks = static_cast<std::uint64_t>(group_.size()),
                                  .broken = options_.broken,
                                  .loader = options_.loader};
    if (cache_)
      options.complete = [this](const Sample& sample, TrainingImage& image) {
        cache_->find(sample.image, image);
        cache_->complete(sample.image, image);
      };
    const auto position = static_cast<std::uint64_t>(trainer_.steps() * samples_per_step());
    return training_loader(source_, loaded_.tokenizer, training_format(loaded_, options_.style, options_.max_positions),
                           position, options);
  }

  [[nodiscard]] bool stop_wanted() {
    const bool mine = options_.stop && options_.stop();
    if (group_.size() == 1) return mine;
    const std::vector<std::string> answers = group_.exchange(mine ? "stop" : "");
    return std::any_of(answers.begin(), answers.end(), [](const std::string& answer) { return !answer.empty(); });
  }

  void step(Loader<TrainingItem>& loader) {
    Stopwatch watch;
    const double waited = loader.wait_seconds();
    group_.note(trainer_.steps() + 1, "data");
    std::vector<TrainingBatch> micro_batches(static_cast<std::size_t>(options_.accumulation));
    for (TrainingBatch& batch : micro_batches)
      for (int i = 0; i < options_.batch; ++i) {
        std::optional<TrainingItem> item = loader.next();
        for (const std::string& message : item->skipped) {
          ++skipped_;
          if (observer_.on_skipped) observer_.on_skipped(message);
        }
        batch.push_back(std::move(item->image));
      }
    StepReport report = trainer_.step(micro_batches);
    report.seconds = watch.lap();
    report.data_seconds = loader.wait_seconds() - waited;
    if (options_.state_sums) state_sum_ = sum_of_state();
    if (!is_first()) return;
    Json entry = to_json(report);
    entry["skipped"] = skipped_;
    if (options_.state_sums) entry["state_crc32c"] = state_sum_;
    log_->append(entry);
    write_events(*events_, report, wall_clock());
    if (observer_.on_step) observer_.on_step(report);
  }

  /// One number for everything that a step changes.
  [[nodiscard]] std::uint32_t sum_of_state() {
    std::uint32_t sum = 0;
    for (const auto& [group, tensors] : trainer_.tensors())
      for (const auto& [name, tensor] : tensors)
        append_elements(tensor, [&](std::span<const std::byte> bytes) { sum = crc32c(bytes, sum); });
    return sum;
  }

  void validate() {
    score_.reset();
    if (validation_ == nullptr) return;
    group_.note(trainer_.steps(), "validation");
    const Validation found = validate_model(loaded_, *validation_, options_.style, group_);
    score_ = found.score.giou;
    const bool best = !best_score_ || *score_ > *best_score_;
    if (best) best_score_ = score_;
    if (!is_first()) return;
    const std::int64_t epoch = (trainer_.steps() + options_.steps_per_epoch - 1) / options_.steps_per_epoch;
    write_validation_events(*events_, epoch, wall_clock(), found.score.giou, found.score.ciou);
    log_->append(
        {{"step", trainer_.steps()}, {"epoch", epoch}, {"val_giou", found.score.giou}, {"val_ciou", found.score.ciou}});
    if (options_.pictures > 0 && !found.records.empty()) {
      const Image picture = validation_picture(*validation_, found, options_.pictures);
      write_png(options_.folder / "pictures" / (state_folder_name(trainer_.steps()) + ".png"), picture);
      events_->image("val/samples", epoch, wall_clock(), picture);
    }
    if (observer_.on_validation) observer_.on_validation(epoch, found.score, best);
  }

  void save() {
    group_.note(trainer_.steps(), "saving");
    if (saved_ != trainer_.steps()) {
      std::map<std::string, NamedTensors> tensors = trainer_.tensors();
      if (is_first()) save_state(std::move(tensors));
      saved_ = trainer_.steps();
    }
    group_.barrier();
  }

  void save_state(std::map<std::string, NamedTensors> tensors) {
    const std::int64_t samples = trainer_.steps() * samples_per_step() * group_.size();
    const auto size = static_cast<std::int64_t>(source_.size);
    const TrainState state{.step = trainer_.steps(),
                           .epoch = samples / size,
                           .sample_index = samples % size,
                           .accumulation_phase = 0,  // states are saved between steps
                           .scheduler_position = trainer_.steps(),
                           .seeds = {{"dropout", options_.trainer.seed}},
                           .score = score_,
                           .best_score = best_score_,
                           .run = facts(),
                           .tensors = std::move(tensors)};
    const std::filesystem::path folder = store_->save(state);
    if (observer_.on_saved) observer_.on_saved(folder);
  }

  static double wall_clock() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  }

  LoadedModel<S>& loaded_;
  SampleSource source_;
  const DataSet* validation_;
  const TrainingRunOptions& options_;
  ProcessGroup& group_;
  const TrainingObserver& observer_;
  Trainer<S> trainer_;
  std::optional<FeatureCache<S>> cache_;
  std::optional<TrainStateStore> store_;     // on rank 0
  std::optional<TrainingLog> log_;           // on rank 0
  std::optional<TensorBoardEvents> events_;  // on rank 0
  std::optional<double> score_, best_score_;
  std::int64_t saved_ = -1;  // step of the last state
  std::int64_t skipped_ = 0;
  std::uint32_t state_sum_ = 0;
};

}  // namespace detail

/// Trains a model, or goes on where an earlier run in the same folder stopped: steps, validation once an epoch, a log
/// in JSON lines, TensorBoard's event files, pictures of validation samples, states that survive a loss of power. All
/// processes of a group call it alike. The same options give the same weights bit for bit, whether the run was
/// interrupted or not.
/// @param loaded      holds the trained weights afterwards, adapters unmerged
/// @param validation  none: no validation
/// @throws InputError for a loss that is not finite, with the samples: the last state is kept; MismatchError with every
///         difference from the run that the folder holds; IoError when a file cannot be written or a process is lost;
///         what reading samples throws
template <ModelSpec S>
TrainingOutcome run_training(LoadedModel<S>& loaded, SampleSource source, const DataSet* validation,
                             const TrainingRunOptions& options, ProcessGroup& group,
                             const TrainingObserver& observer = {}) {
  return detail::TrainingRun<S>(loaded, std::move(source), validation, options, group, observer).run();
}

}  // namespace lisa
