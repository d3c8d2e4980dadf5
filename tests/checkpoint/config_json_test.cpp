// torch-free
#include "lisa/checkpoint/config_json.hpp"

#include <string>
#include <utility>
#include <vector>

#include "lisa/config/presets.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

using namespace lisa;
using lisa::test::broken_promises;

namespace {

const std::string golden = LISA_TEST_DATA "/golden/";

/// config.json of LISA-7B-v1's shape, with some fields replaced; a null removes the field.
Json published_config(const Json& changes = Json::object()) {
  Json config = parse_json(R"({
    "architectures": ["LISAForCausalLM"], "model_type": "llava", "vocab_size": 32004, "hidden_size": 4096,
    "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-06, "mm_hidden_size": 1024, "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
    "mm_vision_tower": "openai/clip-vit-large-patch14", "mm_use_im_start_end": true, "out_dim": 256,
    "rope_scaling": null, "tie_word_embeddings": false, "hidden_act": "silu", "mm_projector_type": "mlp2x_gelu"})",
                           "test");
  for (const auto& [name, value] : changes.items()) {
    config.erase(name);
    if (!value.is_null()) config[name] = value;
  }
  return config;
}

CheckpointConfig parsed(const Json& changes = Json::object()) {
  return parse_checkpoint_config(published_config(changes), "config.json");
}

struct Wide : Lisa7B {
  static constexpr ClipConfig vision = clip_vit_l14_336;
};

}  // namespace

TEST_CASE("the golden checkpoint's configs are read") {
  const CheckpointConfig config = read_checkpoint_config(golden + "model_a");
  CHECK(config.architecture == "LISAForCausalLM");
  CHECK(config.llm == LlamaConfig{.vocab = 704,
                                  .hidden = 64,
                                  .mlp = 176,
                                  .layers = 3,
                                  .heads = 4,
                                  .kv_heads = 4,
                                  .context = 2048,
                                  .eps = 1e-6,
                                  .rope_theta = 1e4});
  CHECK(config.feature_layer == -2);
  CHECK(config.select == FeatureSelect::patch);
  CHECK(config.vision_hidden == 32);
  CHECK(config.vision_tower == "openai/clip-vit-large-patch14");
  CHECK(config.seg_width == 32);
  CHECK(config.image_start_end);

  const ClipConfig vision = read_clip_config(golden + "clip_a");
  CHECK(vision == ClipConfig{.hidden = 32, .mlp = 64, .layers = 3, .heads = 4});
  CHECK(read_preprocessor_config(golden + "clip_a") == PreprocessorConfig{});
  CHECK(!read_preprocessor_config(golden + "model_a").has_value());
}

TEST_CASE("absent fields have the values that the original assumes") {
  const CheckpointConfig config = parsed({{"mm_vision_select_layer", nullptr},
                                          {"mm_vision_select_feature", nullptr},
                                          {"mm_vision_tower", nullptr},
                                          {"mm_hidden_size", nullptr},
                                          {"mm_use_im_start_end", nullptr},
                                          {"out_dim", nullptr}});
  CHECK(config.llm.kv_heads == config.llm.heads);
  CHECK(config.llm.rope_theta == 1e4);
  CHECK(config.feature_layer == -2);
  CHECK(config.select == FeatureSelect::patch);
  CHECK(config.vision_tower.empty());
  CHECK(!config.vision_hidden.has_value());
  CHECK(config.seg_width == 256);
  CHECK(config.image_start_end);
  CHECK(parsed({{"mm_vision_tower", nullptr}, {"vision_tower", "clip"}}).vision_tower == "clip");
  CHECK(parsed({{"num_key_value_heads", 8}}).llm.kv_heads == 8);
  CHECK(parsed({{"rope_theta", 1000000}}).llm.rope_theta == 1e6);
  CHECK(parsed({{"architectures", {"LlavaLlamaForCausalLM"}}}).architecture == "LlavaLlamaForCausalLM");
}

TEST_CASE("rows 76 to 84: configs that cannot be used") {
  const auto row = [](std::string name, std::vector<std::string> words, ErrorKind kind = ErrorKind::format) {
    return test::BadInput{.row = std::move(name), .kind = kind, .file = "config.json", .words = std::move(words)};
  };
  constexpr auto mismatch = ErrorKind::mismatch;
  const std::vector<std::pair<test::BadInput, Json>> table{
      {row("76", {"hidden_size", "missing"}), {{"hidden_size", nullptr}}},
      {row("76 several", {"2 defects", "vocab_size", "rms_norm_eps"}),
       {{"vocab_size", nullptr}, {"rms_norm_eps", nullptr}}},
      {row("76 context", {"max_position_embeddings", "missing"}), {{"max_position_embeddings", nullptr}}},
      {row("76 architectures", {"architectures", "missing", "LISAForCausalLM"}, mismatch),
       {{"architectures", nullptr}}},
      {row("77", {"hidden_size", "the string \"4096\""}), {{"hidden_size", "4096"}}},
      {row("77 fraction", {"num_hidden_layers", "32.5"}), {{"num_hidden_layers", 32.5}}},
      {row("77 real", {"num_hidden_layers", "32.0", "whole number"}), {{"num_hidden_layers", 32.0}}},
      {row("77 bool", {"mm_use_im_start_end", "the number 1"}), {{"mm_use_im_start_end", 1}}},
      {row("77 array", {"vocab_size", "an array"}), {{"vocab_size", Json::array({1})}}},
      {row("78 zero", {"num_attention_heads", "the number 0"}), {{"num_attention_heads", 0}}},
      {row("78 negative", {"num_hidden_layers", "-1"}), {{"num_hidden_layers", -1}}},
      {row("78 2^40", {"hidden_size", "1099511627776"}), {{"hidden_size", 1099511627776}}},
      {row("78 2^64-1", {"hidden_size", "18446744073709551615"}), {{"hidden_size", 18446744073709551615ULL}}},
      {row("78 eps", {"rms_norm_eps", "above"}), {{"rms_norm_eps", 0}}},
      {row("78 theta", {"rope_theta", "-1"}), {{"rope_theta", -1}}},
      {row("79", {"num_attention_heads", "30", "4096"}), {{"num_attention_heads", 30}}},
      {row("79 kv", {"num_key_value_heads", "5", "32"}), {{"num_key_value_heads", 5}}},
      {row("79 kv above", {"num_key_value_heads", "64", "32"}), {{"num_key_value_heads", 64}}},
      {row("79 odd", {"num_attention_heads", "size 1"}), {{"num_attention_heads", 4096}}},
      {row("79 head_dim", {"head_dim", "the number 64", "the number 128"}), {{"head_dim", 64}}},
      {row("84", {"architectures", "\"BertModel\"", "LISAForCausalLM"}, mismatch), {{"architectures", {"BertModel"}}}},
      {row("84 none", {"architectures", "[]"}, mismatch), {{"architectures", Json::array()}}},
      {row("84 text", {"architectures"}, mismatch), {{"architectures", "LISAForCausalLM"}}},
      {row("feature", {"mm_vision_select_feature", "\"cls\""}), {{"mm_vision_select_feature", "cls"}}},
      {row("tied", {"tie_word_embeddings", "true"}), {{"tie_word_embeddings", true}}},
      {row("scaled", {"rope_scaling", "an object"}), {{"rope_scaling", {{"type", "linear"}}}}},
      {row("quantised", {"quantization_config"}), {{"quantization_config", {{"bits", 4}}}}},
      {row("activation", {"hidden_act", "\"gelu\""}), {{"hidden_act", "gelu"}}},
  };
  for (const auto& [expected, changes] : table) {
    CAPTURE(expected.row);
    CHECK(broken_promises(expected, [&changes = changes] { (void)parsed(changes); }) == "");
  }
}

TEST_CASE("rows 76 and 80 to 84: broken JSON in a checkpoint folder") {
  const test::TempDir folder;
  const auto check = [&](const char* row, const std::string& content, std::vector<std::string> words,
                         std::optional<ErrorKind> kind = ErrorKind::format) {
    CAPTURE(row);
    test::write_text(folder / "config.json", content);
    CHECK(broken_promises(
              {.row = row, .kind = kind, .file = "config.json", .words = std::move(words), .unchanged = folder.path()},
              [&] { (void)read_checkpoint_config(folder.path()); }) == "");
  };
  CHECK(broken_promises({.row = "76", .kind = ErrorKind::io, .file = "config.json"},
                        [&] { (void)read_checkpoint_config(folder.path()); }) == "");
  check("80", R"({"rms_norm_eps": NaN})", {"line 1"});
  check("80", R"({"rms_norm_eps": -Infinity})", {"line 1"});
  check("80", R"({"rms_norm_eps": 1e400})", {});
  check("81", R"({"hidden_size": 1, "hidden_size": 2})", {"hidden_size", "twice"});
  check("82", "\xEF\xBB\xBF{}", {"byte order mark"});
  check("82", std::string("{\0}\0", 4), {"UTF-16"});
  check("83", std::string(100000, '['), {"nested"}, ErrorKind::limit);
  check("84", "[]", {"an array"});
  check("84", "", {});
  std::string windows = published_config().dump(1);
  for (std::size_t at = 0; (at = windows.find('\n', at)) != std::string::npos; at += 2) windows.insert(at, "\r");
  test::write_text(folder / "config.json", windows);
  CHECK(read_checkpoint_config(folder.path()).llm.vocab == 32004);
}

TEST_CASE("row 85: every difference from a specification is named with both values") {
  CHECK_NOTHROW(require_same_config<Lisa7B>(parsed()));
  CHECK(config_differences(spec_configs<Lisa13BLlama2>(), parsed()).count() == 8);
  const CheckpointConfig other = parsed({{"vocab_size", 32003},
                                         {"num_key_value_heads", 8},
                                         {"mm_hidden_size", 768},
                                         {"mm_vision_select_feature", "cls_patch"},
                                         {"mm_vision_select_layer", -1},
                                         {"out_dim", 128}});
  CHECK(broken_promises(
            {.row = "85",
             .kind = ErrorKind::mismatch,
             .file = "config.json",
             .words = {"6 differences from lisa-7b", "vocab_size: found 32003, expected 32004",
                       "num_key_value_heads: found 8, expected 32", "mm_hidden_size: found 768, expected 1024",
                       "mm_vision_select_feature: found cls_patch, expected patch",
                       "mm_vision_select_layer: found -1, expected -2", "out_dim: found 128, expected 256"}},
            [&] { require_same_config<Lisa7B>(other); }) == "");
}

TEST_CASE("a longer context than the specification's is no difference, a shorter one is") {
  CHECK(config_differences(spec_configs<Lisa7B>(), parsed({{"max_position_embeddings", 4096}})).empty());
  const Defects shorter = config_differences(spec_configs<Lisa7B>(), parsed({{"max_position_embeddings", 1024}}));
  CHECK(shorter.report("differences") == "1 differences: max_position_embeddings: found 1024, expected 2048");
}

TEST_CASE("vision tower folders in the layouts of old and later transformers") {
  const char* const flat = R"({"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
    "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14, "image_size": 336})";
  CHECK(parse_clip_config(parse_json(flat, "c"), "c") == clip_vit_l14_336);
  const char* const later = R"({"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336},
    "resample": 3, "rescale_factor": 0.5, "image_mean": [0, 1, 2], "image_std": [1, 1, 1]})";
  CHECK(parse_preprocessor_config(parse_json(later, "p"), "p") ==
        PreprocessorConfig{
            .shortest_edge = 336, .crop = 336, .rescale_factor = 0.5, .mean = {0, 1, 2}, .std = {1, 1, 1}});
}

TEST_CASE("vision tower folders that cannot be used") {
  const auto check = [](const char* row, const char* content, std::vector<std::string> words,
                        ErrorKind kind = ErrorKind::format) {
    CHECK(broken_promises({.row = row, .kind = kind, .file = "c.json", .words = std::move(words)},
                          [&] { (void)parse_clip_config(parse_json(content, "c.json"), "c.json"); }) == "");
  };
  check("84", R"({"model_type": "siglip_vision_model"})", {"model_type", "siglip_vision_model"}, ErrorKind::mismatch);
  check("76", R"({"vision_config": {"hidden_size": 32}})", {"4 defects", "vision_config.patch_size", "missing"});
  check("77", R"({"vision_config": 3})", {"vision_config", "an object"});
  check("79", R"({"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 5,
                  "patch_size": 14})",
        {"num_attention_heads"});
  check("act", R"({"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
                   "patch_size": 14, "hidden_act": "gelu"})",
        {"hidden_act", "quick_gelu"});
  const auto check_images = [](const char* content, std::vector<std::string> words) {
    CHECK(broken_promises({.row = "77", .kind = ErrorKind::format, .file = "p.json", .words = std::move(words)},
                          [&] { (void)parse_preprocessor_config(parse_json(content, "p.json"), "p.json"); }) == "");
  };
  check_images(R"({"resample": 2, "do_normalize": false})", {"2 defects", "resample", "do_normalize"});
  check_images(R"({"crop_size": {"height": 224, "width": 336}})", {"crop_size.width", "square"});
  check_images(R"({"size": {"height": 224}})", {"size.shortest_edge", "missing"});
  check_images(R"({"image_std": [1, 0, 1]})", {"image_std", "3 positive numbers"});
  check_images(R"([])", {"an object"});
}

TEST_CASE("a vision tower of another size is named with both values") {
  CHECK(broken_promises({.row = "85",
                         .kind = ErrorKind::mismatch,
                         .file = "clip_a",
                         .words = {"hidden_size: found 32, expected 1024", "image_size: found 224, expected 336",
                                   "crop_size: found 224, expected 336"}},
                        [] { require_same_tower<Wide>(golden + "clip_a"); }) == "");
}

TEST_CASE("adapter configs of PEFT") {
  const auto parse = [](const std::string& text) { return parse_adapter_config(parse_json(text, "a.json"), "a.json"); };
  CHECK(parse(R"({"peft_type": "LORA", "r": 8, "lora_alpha": 16, "lora_dropout": 0.05, "bias": "none",
                  "fan_in_fan_out": false, "modules_to_save": null, "rank_pattern": {},
                  "target_modules": ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"]})") ==
        LoraConfig{});
  CHECK(parse(R"({"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": ["down_proj"]})") ==
        LoraConfig{.rank = 4, .alpha = 8, .dropout = 0, .q = false, .v = false, .down = true});
  CHECK(parse(R"({"r": 4, "lora_alpha": 8, "target_modules": ".*q_proj"})").rank == 4);
  CHECK(!read_adapter_config(golden + "model_a").has_value());
  const auto check = [&](const char* row, const char* text, std::vector<std::string> words) {
    CHECK(broken_promises({.row = row, .kind = ErrorKind::format, .file = "a.json", .words = std::move(words)},
                          [&] { (void)parse(text); }) == "");
  };
  check("76", "{}", {"2 defects", "r: missing", "lora_alpha: missing"});
  check("78", R"({"r": 0, "lora_alpha": -1})", {"r: found the number 0", "lora_alpha"});
  check("77", R"({"r": "8", "lora_alpha": 16, "target_modules": 3})", {"the string", "target_modules"});
  check("kind", R"({"r": 8, "lora_alpha": 16, "use_dora": true, "bias": "all"})", {"use_dora", "bias"});
  check("target", R"({"r": 8, "lora_alpha": 16, "target_modules": ["lm_head"]})", {"lm_head"});
  check("extra", R"({"r": 8, "lora_alpha": 16, "modules_to_save": ["lm_head"]})", {"modules_to_save"});
}
