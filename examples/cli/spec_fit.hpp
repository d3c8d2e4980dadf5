#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/checkpoint/config_json.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"
#include "spec_entry.hpp"

namespace lisa::program {

/// Tensors by the names that specifications use: without PEFT's wrapping, and a vision tower inside the checkpoint
/// under CLIP's own names.
using TensorTable = std::unordered_map<std::string, StoredTensor>;

void add_tensors(TensorTable& table, std::span<const StoredTensor> tensors);

/// In what a checkpoint differs from a compiled specification: fields of config.json or, where these agree, tensors
/// that are missing or of another shape. The vision tower's count only where the table has some.
[[nodiscard]] Defects spec_differences(const SpecEntry& spec, const CheckpointConfig& config, const TensorTable& table);

}  // namespace lisa::program
