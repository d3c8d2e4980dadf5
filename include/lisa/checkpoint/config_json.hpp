#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/config/clip.hpp"
#include "lisa/config/llama.hpp"
#include "lisa/config/lora.hpp"
#include "lisa/config/spec.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_fields.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// Largest size, count or id that a config may state: far above any real model, far below overflow.
inline constexpr dim largest_config_number = dim{1} << 24;

/// What a LISA checkpoint's config.json says. Fields that published files leave out have the values which the original
/// code then assumes.
struct CheckpointConfig {
  std::string file{};          ///< as shown in messages
  std::string architecture{};  ///< LISAForCausalLM, or LlavaLlamaForCausalLM for the base weights of training
  LlamaConfig llm{};
  dim feature_layer = -2;                       ///< mm_vision_select_layer
  FeatureSelect select = FeatureSelect::patch;  ///< mm_vision_select_feature
  std::optional<dim> vision_hidden{};           ///< mm_hidden_size: width of the vision tower's features
  std::string vision_tower{};                   ///< mm_vision_tower: a folder or a name on the model hub; may be empty
  dim seg_width = 256;                          ///< out_dim: width of the vectors for the mask decoder
  bool image_start_end = true;                  ///< mm_use_im_start_end
};

/// Numbers of a vision tower folder's preprocessor_config.json (transformers' CLIPImageProcessor).
struct PreprocessorConfig {
  dim shortest_edge = 224;
  dim crop = 224;
  double rescale_factor = 1.0 / 255.0;
  std::array<double, 3> mean{0.48145466, 0.4578275, 0.40821073};
  std::array<double, 3> std{0.26862954, 0.26130258, 0.27577711};
  bool operator==(const PreprocessorConfig&) const = default;
};

namespace detail {

inline void throw_config_defects(const Defects& defects, const std::string& file) {
  if (!defects.empty()) throw FormatError(file, "", defects.report("defects"));
}

/// Reads every number that the visitor `fields` names, where the file has it. @param required names without default
template <class Config>
void read_numbers(Config& config, JsonFields& json, std::initializer_list<std::string_view> required) {
  fields(config, [&](std::string_view name, auto& value) {
    using Value = std::remove_cvref_t<decltype(value)>;
    if (std::ranges::find(required, name) != required.end()) json.require(name, "a number");
    if constexpr (std::same_as<Value, dim>) {
      if (name.starts_with("mm_")) return;  // LISA's config.json says it, not the vision tower's
      if (const auto number = json.integer(name, 1, largest_config_number)) value = *number;
    } else if constexpr (std::same_as<Value, double>) {
      if (const auto number = json.number(name, 0, 1e12)) value = *number;
    }
  });
}

/// A field that must have one value where it is present.
inline void require_value(JsonFields& json, std::string_view name, const Json& expected) {
  if (const Json* value = json.find(name); value != nullptr && *value != expected)
    json.wrong(name, *value, json_in_words(expected));
}

inline void read_llama_config(const Json& file, CheckpointConfig& config, Defects& defects) {
  JsonFields json(file, defects);
  LlamaConfig& llm = config.llm;
  read_numbers(llm, json,
               {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                "max_position_embeddings", "rms_norm_eps"});
  if (json.find("num_key_value_heads") == nullptr) llm.kv_heads = llm.heads;
  if (!defects.empty()) return;
  if (llm.hidden % llm.heads != 0)
    defects.add("num_attention_heads: " +
                found_expected(std::to_string(llm.heads), "a divisor of hidden_size " + std::to_string(llm.hidden)));
  else if (head_dim(llm) % 2 != 0)
    defects.add("num_attention_heads: " + found_expected("heads of size " + std::to_string(head_dim(llm)),
                                                         "an even size, which rotary embedding needs"));
  if (llm.heads % llm.kv_heads != 0)
    defects.add(
        "num_key_value_heads: " +
        found_expected(std::to_string(llm.kv_heads), "a divisor of num_attention_heads " + std::to_string(llm.heads)));
  // What this library does not compute must not pass in silence.
  require_value(json, "hidden_act", "silu");
  require_value(json, "tie_word_embeddings", false);
  require_value(json, "attention_bias", false);
  require_value(json, "mlp_bias", false);
  if (llm.hidden % llm.heads == 0) require_value(json, "head_dim", head_dim(llm));
  for (const std::string_view name : {"rope_scaling", "quantization_config"})
    if (const Json* value = json.find(name)) json.wrong(name, *value, "null");
}

inline void read_multimodal_config(const Json& file, CheckpointConfig& config, Defects& defects) {
  JsonFields json(file, defects);
  config.feature_layer = json.integer("mm_vision_select_layer", -largest_config_number, largest_config_number)
                             .value_or(config.feature_layer);
  if (const auto select = json.text("mm_vision_select_feature")) {
    config.select = *select == "cls_patch" ? FeatureSelect::cls_patch : FeatureSelect::patch;
    if (*select != "patch" && *select != "cls_patch")
      json.wrong("mm_vision_select_feature", Json(*select), "\"patch\" or \"cls_patch\"");
  }
  config.vision_hidden = json.integer("mm_hidden_size", 1, largest_config_number);
  config.vision_tower = json.text("mm_vision_tower").value_or(json.text("vision_tower").value_or(""));
  config.seg_width = json.integer("out_dim", 1, largest_config_number).value_or(config.seg_width);
  config.image_start_end = json.boolean("mm_use_im_start_end").value_or(config.image_start_end);
}

/// The one model class that the file names.
inline std::string read_architecture(const Json& file, const std::string& name) {
  constexpr std::string_view expected = "LISAForCausalLM (or LlavaLlamaForCausalLM, the base weights of training)";
  if (!file.is_object()) throw FormatError(name, "", found_expected(json_in_words(file), "an object"));
  const auto list = file.find("architectures");
  if (list == file.end()) throw MismatchError(name, "architectures", "missing, expected " + std::string(expected));
  const bool one_name = list->is_array() && list->size() == 1 && list->front().is_string();
  if (!one_name) throw MismatchError(name, "architectures", found_expected(printable(list->dump(), 80), expected));
  const auto& architecture = list->front().get_ref<const std::string&>();
  if (architecture != "LISAForCausalLM" && architecture != "LlavaLlamaForCausalLM")
    throw MismatchError(name, "architectures", found_expected(lisa::quoted(architecture), expected));
  return architecture;
}

/// A length that older files write as a number and later ones as an object with one or two members.
inline dim read_side(const Json& file, const char* name, std::initializer_list<const char*> members, dim side,
                     Defects& defects) {
  JsonFields json(file, defects);
  const Json* value = json.find(name);
  if (value == nullptr) return side;
  if (!value->is_object()) return json.integer(name, 1, largest_config_number).value_or(side);
  JsonFields object(*value, defects, std::string(name) + ".");
  std::optional<dim> first;
  for (const char* member : members) {
    object.require(member, "a number");
    const auto length = object.integer(member, 1, largest_config_number);
    if (first && length && *first != *length) object.wrong(member, *value, "a square");
    if (!first) first = length;
  }
  return first.value_or(side);
}

inline void read_triple(const Json& file, const char* name, std::array<double, 3>& values, bool positive,
                        Defects& defects) {
  JsonFields json(file, defects);
  const Json* list = json.find(name);
  if (list == nullptr) return;
  const auto usable = [&](const Json& value) { return value.is_number() && (!positive || value.get<double>() > 0); };
  if (!list->is_array() || list->size() != values.size() || !std::ranges::all_of(*list, usable)) {
    json.wrong(name, *list, positive ? "3 positive numbers" : "3 numbers");
    return;
  }
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = (*list)[i].get<double>();
}

/// Marks the projections that `target_modules` lists by the last part of their names.
inline void read_target_modules(JsonFields& adapter, LoraConfig& config) {
  const Json* const targets = adapter.find("target_modules");
  if (targets == nullptr || targets->is_string()) return;
  if (!targets->is_array()) return adapter.wrong("target_modules", *targets, "an array of names");
  for (const Json& target : *targets) {
    const std::string name = target.is_string() ? target.get<std::string>() : std::string();
    bool known = false;
    fields(config, [&](std::string_view projection, auto& value) {
      if constexpr (std::same_as<std::remove_cvref_t<decltype(value)>, bool>)
        if (name == projection || name.ends_with("." + std::string(projection))) known = value = true;
    });
    if (!known) adapter.wrong("target_modules", target, "a projection of the language model");
  }
}

/// Adds "name: found X, expected Y" for every number of `expected` that differs.
template <class Config, class Ignored>
void compare_numbers(const Config& expected, const Config& found, Ignored&& ignored, Defects& differences) {
  constexpr std::size_t most_fields = 32;
  std::array<std::string, most_fields> expected_text;
  const auto text = [](const auto& value) {
    using Value = std::remove_cvref_t<decltype(value)>;
    if constexpr (std::same_as<Value, FeatureSelect>)
      return std::string(value == FeatureSelect::patch ? "patch" : "cls_patch");
    else
      return Json(value).dump();
  };
  std::size_t i = 0;
  fields(expected, [&](std::string_view, const auto& value) { expected_text[i++] = text(value); });
  i = 0;
  fields(found, [&](std::string_view name, const auto& value) {
    const std::string& wanted = expected_text[i++];
    if (!ignored(name) && text(value) != wanted)
      differences.add(std::string(name) + ": " + found_expected(text(value), wanted));
  });
}

}  // namespace detail

/// Reads a parsed config.json of a LISA (or base LLaVA) checkpoint. @param file name for messages
/// @throws MismatchError for another architecture; FormatError naming every field that is missing, of a wrong type, out
///         of range, contradictory or beyond what this library computes
[[nodiscard]] inline CheckpointConfig parse_checkpoint_config(const Json& json, const std::string& file) {
  CheckpointConfig config{.file = file, .architecture = detail::read_architecture(json, file)};
  Defects defects;
  detail::read_llama_config(json, config, defects);
  detail::read_multimodal_config(json, config, defects);
  detail::throw_config_defects(defects, file);
  return config;
}

/// config.json of a checkpoint folder. @throws IoError, LimitError and as `parse_checkpoint_config`
[[nodiscard]] inline CheckpointConfig read_checkpoint_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  return parse_checkpoint_config(read_json(path), shown_path(path));
}

/// Reads a parsed config.json of a CLIP folder: of a whole CLIPModel (nested `vision_config`) or of a CLIPVisionModel.
/// Absent image_size and layer_norm_eps have CLIPVisionConfig's defaults, 224 and 1e-5, because later versions of
/// transformers do not write defaults. `feature_layer` and `select` are LISA's to say and keep their defaults.
/// @throws MismatchError for another model, FormatError as `parse_checkpoint_config`
[[nodiscard]] inline ClipConfig parse_clip_config(const Json& json, const std::string& file) {
  Defects defects;
  JsonFields outer(json, defects);
  detail::throw_config_defects(defects, file);
  const auto type = outer.text("model_type");
  if (type && *type != "clip" && *type != "clip_vision_model")
    throw MismatchError(file, "model_type", found_expected(lisa::quoted(*type), "\"clip\" or \"clip_vision_model\""));
  const Json* vision = outer.find("vision_config");
  JsonFields inner(vision == nullptr ? json : *vision, defects, vision == nullptr ? "" : "vision_config.");
  ClipConfig config;
  detail::read_numbers(config, inner,
                       {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "patch_size"});
  if (defects.empty()) {
    detail::require_value(inner, "hidden_act", "quick_gelu");
    detail::require_value(inner, "num_channels", 3);
    if (config.hidden % config.heads != 0)
      defects.add(
          "num_attention_heads: " +
          found_expected(std::to_string(config.heads), "a divisor of hidden_size " + std::to_string(config.hidden)));
    if (config.patch > config.image)
      defects.add("patch_size: " +
                  found_expected(std::to_string(config.patch), "at most image_size " + std::to_string(config.image)));
  }
  detail::throw_config_defects(defects, file);
  return config;
}

/// config.json of a vision tower folder. @throws IoError, LimitError and as `parse_clip_config`
[[nodiscard]] inline ClipConfig read_clip_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  return parse_clip_config(read_json(path), shown_path(path));
}

/// Reads a parsed preprocessor_config.json; absent fields have CLIPImageProcessor's defaults. Steps that are switched
/// off, and resampling other than bicubic, are refused. @throws FormatError naming every such field
[[nodiscard]] inline PreprocessorConfig parse_preprocessor_config(const Json& json, const std::string& file) {
  Defects defects;
  JsonFields steps(json, defects);
  detail::throw_config_defects(defects, file);
  for (const std::string_view step : {"do_resize", "do_center_crop", "do_rescale", "do_normalize"})
    detail::require_value(steps, step, true);
  detail::require_value(steps, "resample", 3);
  PreprocessorConfig config;
  config.shortest_edge = detail::read_side(json, "size", {"shortest_edge"}, config.shortest_edge, defects);
  config.crop = detail::read_side(json, "crop_size", {"height", "width"}, config.crop, defects);
  config.rescale_factor = steps.number("rescale_factor", 0, 1e6).value_or(config.rescale_factor);
  detail::read_triple(json, "image_mean", config.mean, false, defects);
  detail::read_triple(json, "image_std", config.std, true, defects);
  detail::throw_config_defects(defects, file);
  return config;
}

/// preprocessor_config.json of a vision tower folder; nothing where the folder has none.
[[nodiscard]] inline std::optional<PreprocessorConfig> read_preprocessor_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "preprocessor_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, ignored))) return std::nullopt;
  return parse_preprocessor_config(read_json(path), shown_path(path));
}

/// Reads a parsed adapter_config.json of a PEFT folder: rank, alpha, dropout and the adapted projections, by the last
/// part of their names. A pattern instead of a list of names leaves the projections to the tensors.
/// @throws FormatError naming every field that is missing, wrong or asks for a kind of adapter other than plain LoRA
[[nodiscard]] inline LoraConfig parse_adapter_config(const Json& json, const std::string& file) {
  Defects defects;
  JsonFields adapter(json, defects);
  detail::throw_config_defects(defects, file);
  LoraConfig config{.q = false, .v = false};
  adapter.require("r", "the rank");
  config.rank = adapter.integer("r", 1, largest_config_number).value_or(config.rank);
  adapter.require("lora_alpha", "a number");
  config.alpha = adapter.number("lora_alpha", 0, 1e6).value_or(config.alpha);
  if (const Json* dropout = adapter.find("lora_dropout"); dropout != nullptr && *dropout == Json(0))
    config.dropout = 0;
  else
    config.dropout = adapter.number("lora_dropout", 0, 1).value_or(0);
  detail::require_value(adapter, "peft_type", "LORA");
  detail::require_value(adapter, "bias", "none");
  for (const std::string_view variant : {"fan_in_fan_out", "use_rslora", "use_dora"})
    detail::require_value(adapter, variant, false);
  for (const std::string_view extra : {"rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform"})
    if (const Json* value = adapter.find(extra); value != nullptr && !value->empty())
      adapter.wrong(extra, *value, "nothing");
  detail::read_target_modules(adapter, config);
  detail::throw_config_defects(defects, file);
  return config;
}

/// adapter_config.json of a folder; nothing where the folder has none.
[[nodiscard]] inline std::optional<LoraConfig> read_adapter_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "adapter_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, ignored))) return std::nullopt;
  return parse_adapter_config(read_json(path), shown_path(path));
}

/// Fields in which a checkpoint's config.json differs from a specification. `max_position_embeddings` counts only where
/// the specification asks for more positions than the checkpoint was trained on: a smaller context is a choice.
[[nodiscard]] inline Defects config_differences(const SpecConfigs& spec, const CheckpointConfig& config) {
  Defects differences;
  detail::compare_numbers(
      spec.llm, config.llm,
      [&](std::string_view name) {
        return name == "max_position_embeddings" && spec.llm.context <= config.llm.context;
      },
      differences);
  ClipConfig vision = spec.vision;
  vision.feature_layer = config.feature_layer;
  vision.select = config.select;
  vision.hidden = config.vision_hidden.value_or(vision.hidden);
  if (vision.hidden != spec.vision.hidden)
    differences.add("mm_hidden_size: " +
                    found_expected(std::to_string(vision.hidden), std::to_string(spec.vision.hidden)));
  detail::compare_numbers(
      spec.vision, vision, [](std::string_view name) { return !name.starts_with("mm_"); }, differences);
  if (config.architecture == "LISAForCausalLM" && config.seg_width != spec.sam.prompt_dim)
    differences.add("out_dim: " +
                    found_expected(std::to_string(config.seg_width), std::to_string(spec.sam.prompt_dim)));
  return differences;
}

/// @throws MismatchError naming every field in which the checkpoint's config.json differs from specification S
template <ModelSpec S>
void require_same_config(const CheckpointConfig& config) {
  const Defects differences = config_differences(spec_configs<S>(), config);
  if (!differences.empty())
    throw MismatchError(config.file, "", differences.report("differences from " + std::string(S::name)));
}

/// Checks a vision tower folder's config.json, and its preprocessor_config.json where there is one, against
/// specification S. @throws MismatchError naming every difference, and as `read_clip_config`
template <ModelSpec S>
void require_same_tower(const std::filesystem::path& folder) {
  Defects differences;
  detail::compare_numbers(
      S::vision, read_clip_config(folder), [](std::string_view name) { return name.starts_with("mm_"); }, differences);
  if (const auto images = read_preprocessor_config(folder))
    if (images->crop != S::vision.image)
      differences.add("preprocessor_config.json: crop_size: " +
                      found_expected(std::to_string(images->crop), std::to_string(S::vision.image)));
  if (!differences.empty())
    throw MismatchError(shown_path(folder / "config.json"), "",
                        differences.report("differences from " + std::string(S::name)));
}

}  // namespace lisa
