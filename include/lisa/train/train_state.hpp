#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"
#include "lisa/files/json.hpp"

namespace lisa {

/// Everything that a training run needs to go on as if it had never stopped.
struct TrainState {
  std::int64_t step = 0;                       ///< optimiser steps done
  std::int64_t epoch = 0;                      ///< epoch of the next sample
  std::int64_t sample_index = 0;               ///< the next sample's index in its epoch
  std::int64_t accumulation_phase = 0;         ///< micro batches whose gradients wait in the group "gradients"
  std::int64_t scheduler_position = 0;         ///< steps of the learning-rate schedule
  std::map<std::string, std::uint64_t> seeds;  ///< by the stream's name
  std::optional<double> score;                 ///< validation score of these weights, higher is better
  std::optional<double> best_score;            ///< best score of the run so far
  /// What has to be the same for a resumed run: configuration hash, LoRA rank, world size, samples per epoch ... A flat
  /// JSON object.
  Json run = Json::object();
  /// Tensors by group, such as "weights", "master", "first_moment", "second_moment", "gradients", "random". A group's
  /// name consists of lower-case letters, digits and underscores.
  std::map<std::string, NamedTensors> tensors;
};

/// What a state must be like for a run to resume from it.
struct ResumeDemands {
  Json run = Json::object();                                      ///< every member must be there with this value
  std::int64_t steps = std::numeric_limits<std::int64_t>::max();  ///< steps of the whole run
  std::map<std::string, std::vector<StoredTensor>> tensors;       ///< name, dtype and shape, by group
};

namespace detail {

[[nodiscard]] inline std::string described(const StoredTensor& tensor) {
  return std::string(info(tensor.dtype).safetensors_name) + " " + shape_text(tensor.shape);
}

/// Differences between a group's tensors and those that are demanded, into `defects`.
inline void compare_group(const std::string& group, const NamedTensors& found,
                          const std::vector<StoredTensor>& demanded, Defects& defects) {
  std::map<std::string, StoredTensor> by_name;
  for (const auto& [name, tensor] : found) by_name.emplace(name, describe(name, tensor));
  for (const StoredTensor& wanted : demanded) {
    const std::string place = group + ": tensor " + quoted(wanted.name) + ": ";
    const auto match = by_name.extract(wanted.name);
    if (match.empty())
      defects.add(place + "missing, expected " + described(wanted));
    else if (match.mapped().dtype != wanted.dtype || match.mapped().shape != wanted.shape)
      defects.add(place + found_expected(described(match.mapped()), described(wanted)));
  }
  for (const auto& [name, tensor] : by_name)
    defects.add(group + ": tensor " + quoted(name) + ": " + found_expected(described(tensor), "no such tensor"));
}

}  // namespace detail

/// Throws MismatchError with every reason why a run with these demands cannot go on from `state`; `file` names the
/// state in the message.
inline void require_resumable(const TrainState& state, const ResumeDemands& demands, const std::string& file) {
  Defects defects;
  for (const auto& [name, wanted] : demands.run.items()) {
    const auto found = state.run.find(name);
    if (found == state.run.end())
      defects.add(printable(name) + ": missing, expected " + printable(wanted.dump()));
    else if (*found != wanted)
      defects.add(printable(name) + ": " + found_expected(printable(found->dump()), printable(wanted.dump())));
  }
  if (state.step > demands.steps)
    defects.add("step: " + found_expected(std::to_string(state.step),
                                          "at most " + std::to_string(demands.steps) + ", the steps of this run"));
  for (const auto& [group, wanted] : demands.tensors) {
    const auto found = state.tensors.find(group);
    detail::compare_group(group, found == state.tensors.end() ? NamedTensors() : found->second, wanted, defects);
  }
  if (!defects.empty()) throw MismatchError(file, "", defects.report("differences from the run that is to be resumed"));
}

}  // namespace lisa
