#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/nn/parameter.hpp"
#include "lisa/train/adamw_options.hpp"
#include "lisa/train/trainable.hpp"

namespace lisa {

/// AdamW over parameters of any dtype. Moments are fp32; a parameter in reduced precision has an fp32 master copy,
/// which collects steps too small for it, and is its rounding.
class AdamW {
 public:
  /// @param parameters those that it moves, by handles on their tensors
  explicit AdamW(std::vector<TrainedParameter> parameters, const AdamWOptions& options = {})
      : parameters_(std::move(parameters)), options_(options) {
    for (const TrainedParameter& parameter : parameters_) {
      const at::Tensor master = parameter.value.detach().to(at::kFloat);  // the parameter itself when it is fp32
      masters_.push_back(master);
      first_moments_.push_back(aten::zeros_like(master));
      second_moments_.push_back(aten::zeros_like(master));
      steps_.push_back(aten::zeros({}, master.options()));
    }
  }

  [[nodiscard]] const std::vector<TrainedParameter>& parameters() const { return parameters_; }

  /// One step. A parameter without gradient stays as it is, its moments and its count of steps too.
  /// @param gradients fp32, one for each parameter; may hold undefined ones
  void step(const std::vector<at::Tensor>& gradients, double learning_rate) {
    const at::NoGradGuard no_gradients;
    std::vector<at::Tensor> masters, used, first, second, steps;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (!gradients.at(i).defined()) continue;
      masters.push_back(masters_[i]);
      used.push_back(gradients[i].to(at::kFloat));
      first.push_back(first_moments_[i]);
      second.push_back(second_moments_[i]);
      steps.push_back(steps_[i].add_(1));
    }
    if (masters.empty()) return;
    at::_fused_adamw_(masters, used, first, second, {}, steps, learning_rate, options_.beta1, options_.beta2,
                      options_.weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false);
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      if (gradients[i].defined() && has_master(i)) parameters_[i].value.copy_(masters_[i]);
  }

  /// Everything that a later run needs to go on beside the parameters, by group: "first_moment", "second_moment",
  /// "optimizer_step" and, for parameters in reduced precision, "master". Handles, not copies.
  [[nodiscard]] std::map<std::string, NamedTensors> state() const {
    std::map<std::string, NamedTensors> groups;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const std::string& name = parameters_[i].name;
      groups["first_moment"].emplace_back(name, first_moments_[i]);
      groups["second_moment"].emplace_back(name, second_moments_[i]);
      groups["optimizer_step"].emplace_back(name, steps_[i]);
      if (has_master(i)) groups["master"].emplace_back(name, masters_[i]);
    }
    return groups;
  }

  /// Copies a saved state into this one; other groups are ignored.
  /// @throws MismatchError naming the tensors that are missing or of another shape; nothing is changed then
  void restore(const std::map<std::string, NamedTensors>& saved) {
    const at::NoGradGuard no_gradients;
    Defects defects;
    std::vector<std::pair<at::Tensor, at::Tensor>> copies;  // to, from
    for (const auto& [group, tensors] : state()) {
      const auto found_group = saved.find(group);
      std::map<std::string, at::Tensor> found;
      if (found_group != saved.end()) found.insert(found_group->second.begin(), found_group->second.end());
      for (const auto& [name, tensor] : tensors) {
        const auto match = found.find(name);
        const std::string place = group + ": " + printable(name) + ": ";
        if (match == found.end())
          defects.add(place + "missing, expected " + to_string(shape_of(tensor)));
        else if (match->second.sizes() != tensor.sizes())
          defects.add(place + found_expected(to_string(shape_of(match->second)), to_string(shape_of(tensor))));
        else
          copies.emplace_back(tensor, match->second);
      }
    }
    if (!defects.empty()) throw MismatchError("", "optimiser state", defects.report("tensors that do not fit"));
    for (const auto& [to, from] : copies) to.copy_(from);
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      if (has_master(i)) parameters_[i].value.copy_(masters_[i]);
  }

 private:
  [[nodiscard]] bool has_master(std::size_t i) const { return parameters_[i].value.scalar_type() != at::kFloat; }

  std::vector<TrainedParameter> parameters_;
  AdamWOptions options_;
  std::vector<at::Tensor> masters_, first_moments_, second_moments_;  // fp32, a parameter's shape
  std::vector<at::Tensor> steps_;                                     // fp32 scalars, as the fused kernel takes them
};

}  // namespace lisa
