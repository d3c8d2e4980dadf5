#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/data/random.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/train/adamw.hpp"
#include "lisa/train/gradient_buckets.hpp"
#include "lisa/train/gradient_checkpoint.hpp"
#include "lisa/train/gradients.hpp"
#include "lisa/train/process_group.hpp"
#include "lisa/train/schedule.hpp"
#include "lisa/train/sharded_states.hpp"
#include "lisa/train/state_owners.hpp"
#include "lisa/train/step_report.hpp"
#include "lisa/train/trainable.hpp"
#include "lisa/train/trainer_options.hpp"
#include "lisa/train/training_forward.hpp"

namespace lisa {

/// Moves a model by steps of a training run. The model's chosen parts require gradients while it lives.
template <ModelSpec S>
class Trainer {
 public:
  /// Begins with the weights that the model has; with several processes, with those of rank 0.
  /// @param model  must outlive this  @param group  must outlive this
  /// @throws InputError as `set_trainable`; IoError when a process is lost
  Trainer(Lisa<S>& model, const TrainerOptions& options, ProcessGroup& group)
      : model_(model),
        options_(options),
        group_(group),
        parameters_(set_trainable(model, options.parts)),
        owners_(state_owners(element_counts(parameters_), options.sharded_states ? group.size() : 1)),
        optimiser_(owned_parameters(), options.optimiser),
        buckets_(group, values()),
        dropout_(at::detail::createCPUGenerator(options.seed)) {
    broadcast_from_owners(group_, values(), std::vector<int>(parameters_.size(), 0));
  }
  ~Trainer() { set_adapter_dropout(model_, {}); }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  [[nodiscard]] const std::vector<TrainedParameter>& parameters() const { return parameters_; }
  /// Optimiser steps done.
  [[nodiscard]] std::int64_t steps() const { return steps_; }

  /// One optimiser step over micro-batches; each process has its own, equally many. Reports the losses over all of
  /// them. Leaves `seconds` and `data_seconds` to the caller.
  /// @throws InputError naming the samples when a loss is not finite or a batch cannot be trained on: the weights are
  ///         then as before; IoError when a process is lost
  StepReport step(const std::vector<TrainingBatch>& micro_batches) {
    if (micro_batches.empty()) throw InputError("step", "found no micro-batch, expected at least one");
    begin_dropout();
    const std::vector<LossCounts> counts = counts_of(micro_batches);
    std::array<double, 4> sums{};  // ce, bce, dice, samples
    GradientSum gradients;
    std::vector<std::string> defects;
    for (std::size_t i = 0; i < micro_batches.size(); ++i) {
      if (i + 1 == micro_batches.size()) buckets_.begin(gradients.tensors());
      group_.note(steps_ + 1, "forward");
      const std::array<double, 3> losses = micro_step(micro_batches[i], counts[i], defects);
      gradients.take(parameters_);
      for (std::size_t part = 0; part < losses.size(); ++part) sums[part] += losses[part];
      sums[3] += static_cast<double>(micro_batches[i].size());
    }
    group_.note(steps_ + 1, "summing gradients");
    gradients.tensors().resize(parameters_.size());
    const double factor = averaging_factor(micro_batches.size());
    buckets_.finish(gradients.tensors(), factor);
    sum_over_processes(sums);
    require_finite(sums, defects);
    return apply(gradients.tensors(), sums, factor);
  }

  /// Everything that a later run needs beside the run's own numbers, by group: "weights" and those of `AdamW::state`.
  /// Complete on rank 0 only; all processes must call it. Handles, not copies.
  [[nodiscard]] std::map<std::string, NamedTensors> tensors() {
    std::map<std::string, NamedTensors> groups;
    for (auto& [group, mine] : optimiser_.state())
      groups[group] = options_.sharded_states ? gather_tensors(group_, mine) : mine;
    for (const TrainedParameter& parameter : parameters_)
      groups["weights"].emplace_back(parameter.name, parameter.value.detach());
    return groups;
  }

  /// Goes on from the tensors of a state after `steps` steps. All processes read the same state.
  /// @throws MismatchError naming tensors that are missing or of another shape; nothing is changed then
  void restore(const std::map<std::string, NamedTensors>& saved, std::int64_t steps) {
    const std::vector<std::pair<at::Tensor, at::Tensor>> weights = matching_weights(saved);
    optimiser_.restore(saved);
    const at::NoGradGuard no_gradients;
    for (const auto& [to, from] : weights) to.copy_(from);
    steps_ = steps;
  }

 private:
  static std::vector<std::int64_t> element_counts(const std::vector<TrainedParameter>& parameters) {
    std::vector<std::int64_t> counts;
    for (const TrainedParameter& parameter : parameters) counts.push_back(parameter.value.numel());
    return counts;
  }

  [[nodiscard]] bool owned(std::size_t parameter) const {
    return !options_.sharded_states || owners_[parameter] == group_.rank();
  }

  [[nodiscard]] std::vector<TrainedParameter> owned_parameters() const {
    std::vector<TrainedParameter> mine;
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      if (owned(i)) mine.push_back(parameters_[i]);
    return mine;
  }

  [[nodiscard]] std::vector<at::Tensor> values() const {
    std::vector<at::Tensor> tensors;
    for (const TrainedParameter& parameter : parameters_) tensors.push_back(parameter.value);
    return tensors;
  }

  /// What is dropped in a step depends on the seed, the step and the process alone, so that a resumed run drops the
  /// same.
  void begin_dropout() {
    Random random({options_.seed, static_cast<std::uint64_t>(steps_), static_cast<std::uint64_t>(group_.rank())});
    dropout_.set_current_seed(random.bits());
    set_adapter_dropout(model_, dropout_);
  }

  [[nodiscard]] std::vector<LossCounts> counts_of(const std::vector<TrainingBatch>& micro_batches) {
    std::vector<LossCounts> counts;
    for (const TrainingBatch& batch : micro_batches) counts.push_back(loss_counts(batch));
    if (options_.averaging == LossAveraging::micro_batch) return counts;
    std::array<double, 2> totals{};
    for (const LossCounts& count : counts) {
      totals[0] += count.tokens;
      totals[1] += count.masks;
    }
    sum_over_processes(totals);
    std::fill(counts.begin(), counts.end(), LossCounts{.tokens = totals[0], .masks = totals[1]});
    return counts;
  }

  [[nodiscard]] double averaging_factor(std::size_t micro_batches) const {
    if (options_.averaging == LossAveraging::step) return 1;
    return 1 / (static_cast<double>(micro_batches) * group_.size());
  }

  /// Forward and backward pass; the gradients stay in the parameters. A loss that is no number is noted and goes no
  /// further: all processes then refuse the step together.
  [[nodiscard]] std::array<double, 3> micro_step(const TrainingBatch& batch, const LossCounts& counts,
                                                 std::vector<std::string>& defects) {
    const TrainingOutput output =
        training_forward(model_, batch,
                         {.weights = options_.weights,
                          .counts = counts,
                          .run = options_.gradient_checkpointing ? gradient_checkpoint(dropout_) : FunctionRunner()});
    const std::array<double, 3> losses{output.losses.ce.template item<double>(),
                                       output.losses.bce.template item<double>(),
                                       output.losses.dice.template item<double>()};
    if (!std::isfinite(losses[0] + losses[1] + losses[2])) {
      std::string samples;
      for (const TrainingImage& image : batch) samples += (samples.empty() ? "" : ", ") + printable(image.id);
      defects.push_back(samples);
      return losses;
    }
    group_.note(steps_ + 1, "backward");
    if (output.loss.requires_grad()) output.loss.backward();
    return losses;
  }

  template <std::size_t Count>
  void sum_over_processes(std::array<double, Count>& values) {
    if (group_.size() == 1) return;
    const at::Tensor tensor = at::tensor(at::ArrayRef<double>(values.data(), Count), at::kDouble);
    group_.begin_sum(tensor)->wait();
    std::copy_n(tensor.template const_data_ptr<double>(), Count, values.begin());
  }

  void require_finite(const std::array<double, 4>& sums, const std::vector<std::string>& defects) const {
    if (std::isfinite(sums[0] + sums[1] + sums[2])) return;
    const auto part = [](const char* name, double value) { return std::string(name) + " " + std::to_string(value); };
    std::string samples;
    for (const std::string& batch : defects) samples += (samples.empty() ? "" : ", ") + batch;
    throw InputError(
        "step " + std::to_string(steps_ + 1),
        found_expected("losses " + part("ce", sums[0]) + ", " + part("mask_bce", sums[1]) + ", " +
                           part("mask_dice", sums[2]) +
                           (samples.empty() ? " from another process' samples" : " from samples " + samples),
                       "finite numbers (a lower learning rate, or check these samples); the weights are "
                       "those of the step before"));
  }

  [[nodiscard]] StepReport apply(std::vector<at::Tensor>& gradients, const std::array<double, 4>& sums, double factor) {
    StepReport report{.step = steps_ + 1,
                      .ce = sums[0] * factor,
                      .bce = sums[1] * factor,
                      .dice = sums[2] * factor,
                      .learning_rate = learning_rate(options_.schedule, steps_),
                      .samples = static_cast<std::int64_t>(std::llround(sums[3]))};
    report.gradient_norm = clip_gradient_norm(gradients, options_.max_gradient_norm);
    if (!std::isfinite(report.gradient_norm))
      throw InputError("step " + std::to_string(steps_ + 1),
                       found_expected("a gradient norm of " + std::to_string(report.gradient_norm),
                                      "a finite one; the weights are those of the step before"));
    std::vector<at::Tensor> mine;
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      if (owned(i)) mine.push_back(gradients[i]);
    optimiser_.step(mine, report.learning_rate);
    if (options_.sharded_states) broadcast_from_owners(group_, values(), owners_);
    ++steps_;
    return report;
  }

  [[nodiscard]] std::vector<std::pair<at::Tensor, at::Tensor>> matching_weights(
      const std::map<std::string, NamedTensors>& saved) const {
    std::map<std::string, at::Tensor> found;
    if (const auto group = saved.find("weights"); group != saved.end())
      found.insert(group->second.begin(), group->second.end());
    Defects defects;
    std::vector<std::pair<at::Tensor, at::Tensor>> pairs;
    for (const TrainedParameter& parameter : parameters_) {
      const auto match = found.find(parameter.name);
      if (match == found.end())
        defects.add(printable(parameter.name) + ": missing, expected " + to_string(shape_of(parameter.value)));
      else if (match->second.sizes() != parameter.value.sizes())
        defects.add(printable(parameter.name) + ": " +
                    found_expected(to_string(shape_of(match->second)), to_string(shape_of(parameter.value))));
      else
        pairs.emplace_back(parameter.value, match->second);
    }
    if (!defects.empty()) throw MismatchError("", "saved weights", defects.report("tensors that do not fit"));
    return pairs;
  }

  Lisa<S>& model_;
  TrainerOptions options_;
  ProcessGroup& group_;
  std::vector<TrainedParameter> parameters_;
  std::vector<int> owners_;  // of each parameter's states
  AdamW optimiser_;
  GradientBuckets buckets_;
  at::Generator dropout_;
  std::int64_t steps_ = 0;
};

}  // namespace lisa
