#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/checkpoint/sharded_writer.hpp"
#include "lisa/checkpoint/side_files.hpp"
#include "lisa/checkpoint/stored_dtype.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/model/part.hpp"
#include "lisa/nn/lora_linear.hpp"
#include "lisa/nn/quantised_linear.hpp"

namespace lisa {

/// How a model becomes a checkpoint folder.
struct SaveModelOptions {
  /// Folders whose files beside the weights (config, tokenizer) go with the model, and with its vision tower.
  std::filesystem::path side_files_from{};
  std::filesystem::path tower_side_files_from{};
  std::string tower_folder = "vision_tower";  ///< below the checkpoint's; config.json then names it
  at::ScalarType dtype = at::kFloat;          ///< of all weights
  std::uint64_t max_shard_bytes = std::uint64_t{10} << 30;
};

namespace detail {

/// config.json with the tower's folder in it, whatever the model that it comes from had.
inline void name_vision_tower(const std::filesystem::path& folder, const std::string& tower) {
  Json config = read_json(folder / "config.json");
  if (!config.is_object()) return;
  for (const char* field : {"mm_vision_tower", "vision_tower"}) config[field] = tower;
  write_file(folder / "config.json", config.dump(2) + "\n");
}

/// The values that a quantised weight stands for, [out, in]; another weight as it is.
[[nodiscard]] inline at::Tensor restored_weight(const at::Tensor& weight, dim in, at::ScalarType dtype) {
  if (!is_quantised(weight)) return weight;
  return dequantised_rows(weight, in, 0, weight.size(0)).to(dtype);
}

inline void make_new_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directory(folder, error);
  if (error) throw IoError(shown_path(folder), "creating the folder", error.message());
}

}  // namespace detail

/// Writes a model into an existing folder as a checkpoint in the published layout that `load` and `lisa segment` read:
/// safetensors, adapters folded into the weights, quantised weights restored, the vision tower in a folder of its own.
/// The model is not changed.
/// @throws IoError; InputError for a model with weights that are undefined
template <ModelSpec S>
void save_model(const std::filesystem::path& folder, const Lisa<S>& model, const SaveModelOptions& options) {
  const std::filesystem::path tower = folder / options.tower_folder;
  detail::make_new_folder(tower);
  Lisa<S> merged = model;  // handles: folding makes new tensors
  if constexpr (requires { merged.llm.merge_adapters(); }) {
    merged.llm.for_each_projection([&](const std::string&, auto& projection) {
      at::Tensor& weight = projection.base.weight;
      weight = detail::restored_weight(weight, projection.base.in_features, options.dtype);
    });
    merged.llm.merge_adapters();
  }
  NamedTensors weights, tower_weights;
  merged.for_each_part([&](Part part, auto& module, const std::string& prefix) {
    module.for_each_parameter(prefix, [&](const std::string& name, at::Tensor& value, const Shape& shape) {
      NamedTensors& where = part == Part::vision_tower ? tower_weights : weights;
      const at::Tensor weight = detail::restored_weight(value, shape.back(), options.dtype);
      where.emplace_back(name, weight.defined() ? weight.detach().to(options.dtype) : weight);
    });
  });
  const auto write = [&](const std::filesystem::path& to, const NamedTensors& tensors) {
    write_sharded(to, detail::describe_all(tensors), TensorFileFormat::safetensors, options.max_shard_bytes,
                  detail::produce_from(tensors));
  };
  write(tower, tower_weights);
  write(folder, weights);
  copy_side_files(options.tower_side_files_from, tower, torch_dtype_name(options.dtype));
  copy_side_files(options.side_files_from, folder, torch_dtype_name(options.dtype));
  detail::name_vision_tower(folder, options.tower_folder);
}

}  // namespace lisa
