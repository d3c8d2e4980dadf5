#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/checkpoint/archive.hpp"
#include "lisa/checkpoint/config_json.hpp"
#include "lisa/gpu/require_device.hpp"
#include "lisa/image/preprocess.hpp"
#include "lisa/model/assign_weights.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/model/load_options.hpp"
#include "lisa/model/loaded_model.hpp"
#include "lisa/text/tokenizer_files.hpp"

namespace lisa {

namespace detail {

/// The folder of the vision tower, or nothing when the checkpoint has the tower's weights itself.
inline std::optional<std::string> vision_tower_folder(const std::string& folder, const std::string& named_in_config,
                                                      const TensorArchive& checkpoint, const LoadOptions& options) {
  if (!options.vision_tower.empty()) return options.vision_tower;
  const auto inside = checkpoint.tensors.lower_bound("model.vision_tower.vision_tower.");
  if (inside != checkpoint.tensors.end() && inside->first.starts_with("model.vision_tower.vision_tower.")) return {};
  for (const std::filesystem::path& candidate :
       {std::filesystem::path(folder) / named_in_config, std::filesystem::path(named_in_config)}) {
    std::error_code ignored;
    if (!named_in_config.empty() && std::filesystem::is_directory(candidate, ignored)) return candidate.string();
  }
  throw InputError((std::filesystem::path(folder) / "config.json").string(), "mm_vision_tower",
                   found_expected(quoted(named_in_config) + ", which is no folder here",
                                  "the vision tower's folder (give it as vision_tower, --vision-tower)"));
}

/// What a vision tower's folder says about its images; the specification's sizes where it says nothing.
inline void apply_preprocessor_config(ClipPreprocess& images, const std::string& tower) {
  const auto config = read_preprocessor_config(tower);
  if (!config) return;
  const auto in_float = [](const std::array<double, 3>& values) {
    return std::array{static_cast<float>(values[0]), static_cast<float>(values[1]), static_cast<float>(values[2])};
  };
  images = {.shortest_edge = static_cast<int>(config->shortest_edge),
            .crop = static_cast<int>(config->crop),
            .rescale_factor = config->rescale_factor,
            .mean = in_float(config->mean),
            .std = in_float(config->std)};
}

/// An adapter's tensors do not show its alpha.
/// @throws MismatchError naming rank and alpha where they differ
template <ModelSpec S>
void require_same_adapter(const std::string& folder) {
  const auto config = read_adapter_config(folder);
  if (!config) return;
  Defects differences;
  compare_numbers(
      S::lora, *config, [](std::string_view name) { return name != "r" && name != "lora_alpha"; }, differences);
  if (!differences.empty())
    throw MismatchError((std::filesystem::path(folder) / "adapter_config.json").string(), "",
                        differences.report("differences from " + std::string(S::name)));
}

/// The warnings and the mapped files of every source go with the model.
template <ModelSpec S>
void keep_sources(LoadedModel<S>& loaded, const WeightFiles& files) {
  const auto keep = [&](const WeightFiles::Source& source) {
    loaded.warnings.insert(loaded.warnings.end(), source.archive.warnings.begin(), source.archive.warnings.end());
    loaded.files.insert(loaded.files.end(), source.archive.files.begin(), source.archive.files.end());
  };
  keep(files.checkpoint);
  for (const auto* source : {&files.vision_tower, &files.sam, &files.adapter})
    if (*source) keep(**source);
}

/// What modules compute once from their weights.
template <ModelSpec S>
void prepare(Lisa<S>& model, const LoadOptions& options) {
  if constexpr (requires { model.llm.merge_adapters(); })
    if (options.merge_adapter) model.llm.merge_adapters();
  model.prepare(options.fp32_positional_encoding ? PositionalPrecision::fp32 : PositionalPrecision::weights);
}

}  // namespace detail

/// Loads a checkpoint in the published layout into a model: config.json, tokenizer files, weights in .bin or
/// .safetensors, whole or in shards, and the vision tower. Weights stay mapped where dtype and device allow.
/// @throws IoError, FormatError, LimitError  for files that cannot be read or break their format
/// @throws InputError     for a device that is not there
/// @throws MismatchError  every field or tensor in which the files differ from the specification, in one report
template <ModelSpec S>
[[nodiscard]] LoadedModel<S> load(const std::string& folder, const LoadOptions& options = {}) {
  require_device(options.device);
  const CheckpointConfig config = read_checkpoint_config(folder);
  require_same_config<S>(config);
  const ArchiveOptions archive_options{.verify_crc = options.verify_crc, .check_finite = options.check_finite};
  const auto source = [&](const std::string& path) {
    return WeightFiles::Source{path, read_archive(path, archive_options)};
  };
  WeightFiles files{.checkpoint = source(folder), .vision_tower = {}, .sam = {}, .adapter = {}};
  LoadedModel<S> loaded(load_tokenizer(folder));
  loaded.image_start_end = config.image_start_end;
  loaded.tokenizer.check_embedding_rows(S::llm.vocab);
  const auto tower = detail::vision_tower_folder(folder, config.vision_tower, files.checkpoint.archive, options);
  if (tower) {
    require_same_tower<S>(*tower);
    detail::apply_preprocessor_config(loaded.clip_preprocess, *tower);
    files.vision_tower = source(*tower);
  }
  if (!options.sam.empty()) files.sam = source(options.sam);
  if (!options.adapter.empty()) {
    detail::require_same_adapter<S>(options.adapter);
    files.adapter = source(options.adapter);
  }
  assign_weights(loaded.model, files, options.precision, options.device);
  detail::prepare(loaded.model, options);
  detail::keep_sources(loaded, files);
  loaded.require_intact();
  return loaded;
}

}  // namespace lisa
