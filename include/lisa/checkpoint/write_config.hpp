#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <type_traits>

#include "lisa/checkpoint/config_json.hpp"
#include "lisa/config/spec.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"

namespace lisa {

namespace detail {

/// The numbers of a configuration under their names in config.json; those of another file are left out.
template <class Config>
void put_numbers(Json& json, const Config& config, bool multimodal) {
  fields(config, [&](std::string_view name, const auto& value) {
    if (name.starts_with("mm_") != multimodal) return;
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, FeatureSelect>)
      json[std::string(name)] = value == FeatureSelect::patch ? "patch" : "cls_patch";
    else
      json[std::string(name)] = value;
  });
}

}  // namespace detail

/// Writes the config.json of a LISA checkpoint with these numbers.
/// @param torch_dtype   of the language model, "bfloat16"
/// @param vision_tower  folder of the tower, relative to the checkpoint's
/// @throws IoError
inline void write_checkpoint_config(const std::filesystem::path& folder, const SpecConfigs& spec,
                                    std::string_view torch_dtype, std::string_view vision_tower) {
  Json json{{"architectures", {"LISAForCausalLM"}}, {"model_type", "llava"}};
  detail::put_numbers(json, spec.llm, false);
  detail::put_numbers(json, spec.vision, true);
  json.update(Json{{"hidden_act", "silu"},
                   {"tie_word_embeddings", false},
                   {"bos_token_id", 1},
                   {"eos_token_id", 2},
                   {"pad_token_id", 0},
                   {"mm_hidden_size", spec.vision.hidden},
                   {"mm_use_im_start_end", true},
                   {"mm_vision_tower", vision_tower},
                   {"vision_tower", vision_tower},
                   {"out_dim", spec.sam.prompt_dim},
                   {"train_mask_decoder", true},
                   {"torch_dtype", torch_dtype}});
  write_file(folder / "config.json", json.dump(2) + "\n");
}

/// Writes config.json and preprocessor_config.json of a CLIP folder with these numbers. @throws IoError
inline void write_tower_config(const std::filesystem::path& folder, const ClipConfig& vision) {
  Json json{{"architectures", {"CLIPVisionModel"}}, {"model_type", "clip_vision_model"}};
  detail::put_numbers(json, vision, false);
  json.update(Json{{"hidden_act", "quick_gelu"}, {"num_channels", 3}});
  write_file(folder / "config.json", json.dump(2) + "\n");
  const PreprocessorConfig numbers;
  const Json images{{"feature_extractor_type", "CLIPFeatureExtractor"},
                    {"do_resize", true},
                    {"size", vision.image},
                    {"resample", 3},
                    {"do_center_crop", true},
                    {"crop_size", vision.image},
                    {"do_normalize", true},
                    {"image_mean", numbers.mean},
                    {"image_std", numbers.std}};
  write_file(folder / "preprocessor_config.json", images.dump(2) + "\n");
}

}  // namespace lisa
