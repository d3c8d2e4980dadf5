#pragma once

#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/model/load.hpp"
#include "lisa/model/save_model.hpp"
#include "lisa/train/initialise.hpp"
#include "lisa/train/training_run.hpp"
#include "staged_folder.hpp"
#include "training_job.hpp"

namespace lisa::program {

/// A model whose weights are all random, with the tokenizer of a folder.
template <ModelSpec S>
[[nodiscard]] LoadedModel<S> untrained_model(const TrainingJob& job, std::vector<std::string>& initialised) {
  LoadedModel<S> loaded(load_tokenizer(job.model));
  loaded.tokenizer.check_embedding_rows(S::llm.vocab);
  initialised = initialise_missing(loaded.model, job.seed, at::device(job.load.device).dtype(at::kFloat));
  return loaded;
}

/// Gives the model the weights of the state with the best validation score, where a folder holds one.
template <ModelSpec S>
void take_best_weights(Lisa<S>& model, const std::filesystem::path& states) {
  const std::optional<TrainState> best = read_best_train_state(states);
  if (!best) return;
  std::map<std::string, at::Tensor> weights;
  if (const auto group = best->tensors.find("weights"); group != best->tensors.end())
    weights.insert(group->second.begin(), group->second.end());
  const at::NoGradGuard no_gradients;
  const auto take = [&](const std::string& name, at::Tensor& value, const Shape&) {
    if (const auto found = weights.find(name); found != weights.end()) value = found->second.to(value.options());
  };
  model.for_each_part([&](Part, auto& module, const std::string& prefix) { module.for_each_parameter(prefix, take); });
  if constexpr (requires { model.llm.for_each_adapter(take); }) model.llm.for_each_adapter(take);
}

/// The trained model as a checkpoint folder, which appears whole or not at all.
template <ModelSpec S>
void write_trained(const TrainingJob& job, const Lisa<S>& model) {
  const std::filesystem::path source(job.model);
  std::string tower = job.load.vision_tower;
  if (tower.empty()) tower = (source / read_checkpoint_config(job.model).vision_tower).string();
  StagedFolder folder(job.checkpoint);
  save_model(folder.path(), model,
             {.side_files_from = source, .tower_side_files_from = tower, .dtype = job.checkpoint_dtype});
  folder.commit();
}

/// Trains one specification: loads or initialises the model, runs, and writes the checkpoint of a finished run.
template <ModelSpec S>
TrainingOutcome train_spec(const TrainingJob& job, ProcessGroup& group) {
  std::vector<std::string> initialised;
  LoadedModel<S> loaded = job.from_scratch ? untrained_model<S>(job, initialised) : lisa::load<S>(job.model, job.load);
  if (job.run.trainer.parts.lora)
    for (std::string& name : initialise_adapters(loaded.model, job.seed)) initialised.push_back(std::move(name));
  if (job.on_initialised && group.rank() == 0) job.on_initialised(initialised);
  const TrainingOutcome outcome = run_training(loaded, job.source, job.validation, job.run, group, job.observer);
  if (outcome.finished && group.rank() == 0 && !std::filesystem::exists(job.checkpoint)) {
    take_best_weights(loaded.model, job.run.folder / "states");
    write_trained(job, loaded.model);
  }
  group.barrier();
  return outcome;
}

}  // namespace lisa::program
