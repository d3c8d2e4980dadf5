#include "lisa/model/load.hpp"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lisa/checkpoint/save.hpp"
#include "tests/model/golden_adapter.hpp"
#include "tests/model/golden_spec.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tensor_compare.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;
namespace fs = std::filesystem;

using Model = LoadedModel<GoldenSpec>;
using Tensors = std::map<std::string, at::Tensor>;

/// The dtypes of each part's parameters, in words.
std::string dtypes(Lisa<GoldenSpec>& model) {
  std::string found;
  model.for_each_part([&](Part part, auto& module, const std::string& prefix) {
    std::set<std::string> seen;
    module.for_each_parameter(prefix, [&](const std::string&, at::Tensor& value, const Shape&) {
      seen.insert(at::toString(value.scalar_type()));
    });
    found += std::string(to_string(part));
    for (const std::string& dtype : seen) found += " " + dtype;
    found += "; ";
  });
  return found;
}

std::string all_parts(const std::string& language, const std::string& masks) {
  return "llm " + language + "; vision_tower " + language + "; visual_projector " + language + "; seg_projector " +
         masks + "; image_encoder " + masks + "; mask_decoder " + masks + "; ";
}

bool is_mask_part(const std::string& name) {
  return name.starts_with("model.visual_model.") || name.starts_with("model.text_hidden_fcs.");
}

Answer answer_a1(const Model& model, AnswerTrace* trace = nullptr) {
  static const GoldenCase recorded("a1");
  Predictor predictor(model);
  predictor.set_image(recorded.image);
  AskOptions options;
  options.trace = trace;
  return predictor.ask(recorded.question, options);
}

/// The message with which loading fails as `E`; another outcome in words.
template <class E>
std::string error_of(const std::string& folder, const LoadOptions& options = golden_options()) {
  try {
    (void)load<GoldenSpec>(folder, options);
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another error: ") + error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Replaces a text in a folder's file, which must hold it.
void edit(const fs::path& file, const std::string& from, const std::string& to) {
  std::string text = read_text(file);
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  write_text(file, text.replace(at, from.size(), to));
}

}  // namespace

TEST_CASE("every precision gives each part its dtype") {
  const auto part_dtypes = [](const std::string& folder, Precision precision) {
    Model model = load<GoldenSpec>(folder, golden_options(precision));
    return dtypes(model.model);
  };
  CHECK(part_dtypes(golden_checkpoint, Precision::fp32) == all_parts("Float", "Float"));
  CHECK(part_dtypes(golden_checkpoint, Precision::bf16) == all_parts("BFloat16", "BFloat16"));
  CHECK(part_dtypes(golden_checkpoint, Precision::fp16) == all_parts("Half", "Half"));
  CHECK(part_dtypes(golden_checkpoint, Precision::mixed) == all_parts("BFloat16", "Float"));

  // As the published files: the language model in bf16, SAM and text_hidden_fcs in fp32. CLIP's folder is fp32.
  const TempDir folder;
  Tensors tensors = golden_tensors("model_a");
  for (auto& [name, tensor] : tensors)
    if (!is_mask_part(name) && tensor.is_floating_point()) tensor = tensor.to(at::kBFloat16);
  write_golden_checkpoint(folder / "mixed", tensors);
  CHECK(part_dtypes((folder / "mixed").string(), Precision::stored) == all_parts("BFloat16", "Float"));
  CHECK(part_dtypes((folder / "mixed").string(), Precision::fp32) == all_parts("Float", "Float"));
}

TEST_CASE("weights in their stored dtype stay in the mapped file") {
  const Model model = load<GoldenSpec>(golden_checkpoint, golden_options(Precision::stored));
  const at::Tensor& weight = model.model.llm.lm_head.weight;
  const auto* data = static_cast<const std::byte*>(weight.const_data_ptr());
  CHECK(std::ranges::any_of(model.files, [&](const auto& file) {
    const auto bytes = file->bytes();
    return data >= bytes.data() && data + weight.nbytes() <= bytes.data() + bytes.size();
  }));
  CHECK_NOTHROW(model.require_intact());
}

TEST_CASE("bf16 and the published mixture segment as fp32") {
  const Answer reference = answer_a1(golden_model());
  /// Loads, asks, and gives the relative error of the dense positional encoding against fp32.
  const auto position_error = [&](Precision precision, bool fp32_positions) {
    CAPTURE(to_string(precision));
    CAPTURE(fp32_positions);
    LoadOptions options = golden_options(precision);
    options.fp32_positional_encoding = fp32_positions;
    const Model model = load<GoldenSpec>(golden_checkpoint, options);
    const Answer answer = answer_a1(model);
    CHECK(answer.answer_ids == reference.answer_ids);
    REQUIRE(answer.masks.size() == 1);
    CHECK(iou(answer.masks[0].bits, reference.masks.at(0).bits) > 0.9);
    return relative_l2(model.model.mask_decoder.dense_pe, golden_model().model.mask_decoder.dense_pe);
  };
  // In bf16 the arguments of sine and cosine are rounded as well, unless the switch says otherwise; the matrix that
  // makes them is in bf16 either way.
  const double rounded = position_error(Precision::bf16, false);
  const double switched = position_error(Precision::bf16, true);
  CHECK(switched > 0);
  CHECK(rounded > 1.2 * switched);
  CHECK(position_error(Precision::mixed, false) == 0);
  CHECK(position_error(Precision::mixed, true) == 0);
}

TEST_CASE("missing, extra and mis-shaped tensors are named in one report, and the model stays as it was") {
  const TempDir folder;
  Tensors tensors = golden_tensors("model_a");
  tensors.erase("model.norm.weight");
  tensors.erase("model.visual_model.mask_decoder.iou_token.weight");
  tensors["model.layers.1.self_attn.q_proj.weight"] = at::zeros({64, 32});
  tensors["model.text_hidden_fcs.0.2.bias"] = at::zeros({33});
  tensors["model.layers.3.mlp.up_proj.weight"] = at::zeros({176, 64});
  tensors["model.layers.0.input_layernorm.weight"] = at::zeros({64}, at::kLong);
  const std::string path = (folder / "model").string();
  write_golden_checkpoint(path, tensors);

  const std::string message = error_of<MismatchError>(path);
  CAPTURE(message);
  CHECK(contains(message, path));
  for (const char* words :
       {"model.norm.weight: expected [64]", "model.visual_model.mask_decoder.iou_token.weight: expected [1, 32]",
        "model.layers.1.self_attn.q_proj.weight: found [64, 32], expected [64, 64]",
        "model.text_hidden_fcs.0.2.bias: found [33], expected [32]",
        "model.layers.3.mlp.up_proj.weight: found [176, 64]", "model.layers.0.input_layernorm.weight"})
    CHECK_MESSAGE(contains(message, words), words);
  CHECK_FALSE(contains(message, "model.embed_tokens"));

  Model model = load<GoldenSpec>(golden_checkpoint, golden_options());
  std::vector<const void*> before, after;
  const auto collect = [&](std::vector<const void*>& into) {
    model.model.for_each_part([&](Part, auto& module, const std::string& prefix) {
      module.for_each_parameter(
          prefix, [&](const std::string&, at::Tensor& value, const Shape&) { into.push_back(value.const_data_ptr()); });
    });
  };
  collect(before);
  const WeightFiles files{.checkpoint = {path, read_archive(path)},
                          .vision_tower = WeightFiles::Source{golden_tower, read_archive(golden_tower)},
                          .sam = {},
                          .adapter = {}};
  CHECK_THROWS_AS(assign_weights(model.model, files, Precision::bf16), MismatchError);
  collect(after);
  CHECK(before == after);
}

TEST_CASE("a checkpoint of another model is refused with every differing field") {
  const TempDir folder;
  write_golden_checkpoint(folder / "model", golden_tensors("model_a"));
  const std::string path = (folder / "model").string();
  edit(folder / "model" / "config.json", "\"hidden_size\": 64", "\"hidden_size\": 128");
  edit(folder / "model" / "config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 5");
  const std::string message = error_of<MismatchError>(path);
  CAPTURE(message);
  CHECK(contains(message, "config.json"));
  CHECK(contains(message, "hidden_size: found 128, expected 64"));
  CHECK(contains(message, "num_hidden_layers: found 5, expected 3"));
  edit(folder / "model" / "config.json", "LISAForCausalLM", "BertModel");
  CHECK(contains(error_of<MismatchError>(path), "BertModel"));
  CHECK(contains(error_of<MismatchError>(golden_tower), "CLIPModel"));
  CHECK(contains(error_of<IoError>((folder / "absent").string()), "absent"));
}

TEST_CASE("the vision tower must be there and fit") {
  const TempDir folder;
  LoadOptions options = golden_options();
  options.vision_tower.clear();  // config.json names the published repository, which is no folder here
  const std::string absent = error_of<InputError>(golden_checkpoint, options);
  CHECK(contains(absent, "openai/clip-vit-large-patch14"));
  CHECK(contains(absent, "--vision-tower"));

  fs::copy(golden_tower, folder / "clip");
  options.vision_tower = (folder / "clip").string();
  edit(folder / "clip" / "config.json", "\"patch_size\": 14", "\"patch_size\": 16");
  CHECK(contains(error_of<MismatchError>(golden_checkpoint, options), "patch_size: found 16, expected 14"));
  options.vision_tower = golden_checkpoint;
  CHECK(contains(error_of<MismatchError>(golden_checkpoint, options), "config.json"));
}

TEST_CASE("the vision tower's folder may be named by config.json, beside its files or by a path") {
  const TempDir folder;
  const fs::path model = folder / "model";
  write_golden_checkpoint(model, golden_tensors("model_a"));
  LoadOptions options = golden_options();
  options.vision_tower.clear();
  std::string named = "openai/clip-vit-large-patch14";
  for (const fs::path& tower : {model / "tower", folder / "elsewhere"}) {
    fs::copy(golden_tower, tower);
    const std::string name = tower.parent_path() == model ? "tower" : tower.string();
    edit(model / "config.json", "\"mm_vision_tower\": \"" + named, "\"mm_vision_tower\": \"" + name);
    named = name;
    CAPTURE(name);
    CHECK(answer_a1(load<GoldenSpec>(model.string(), options)).answer_ids == answer_a1(golden_model()).answer_ids);
    fs::remove_all(tower);
    CHECK(contains(error_of<InputError>(model.string(), options), "--vision-tower"));
  }
}

TEST_CASE("a vocabulary of another size is refused") {
  const TempDir folder;
  write_golden_checkpoint(folder / "model", golden_tensors("model_a"));
  edit(folder / "model" / "added_tokens.json", "\"[SEG]\": 703", "\"[SEG]\": 703, \"[MORE]\": 704");
  const std::string message = error_of<MismatchError>((folder / "model").string());
  CAPTURE(message);
  CHECK(contains(message, "705 token ids"));
  CHECK(contains(message, "704"));
}

TEST_CASE("NaN weights are refused where that is asked for") {
  const TempDir folder;
  Tensors tensors = golden_tensors("model_a");
  at::Tensor head = tensors.at("lm_head.weight").clone();
  head[5][7].fill_(std::numeric_limits<double>::quiet_NaN());
  tensors["lm_head.weight"] = head;
  const std::string path = (folder / "model").string();
  write_golden_checkpoint(path, tensors);
  CHECK(error_of<Error>(path) == "no error");
  LoadOptions options = golden_options();
  options.check_finite = true;
  const std::string message = error_of<FormatError>(path, options);
  CAPTURE(message);
  CHECK(contains(message, "lm_head.weight"));
  CHECK(contains(message, "[5, 7]"));
  CHECK(error_of<Error>(golden_checkpoint, options) == "no error");
}

TEST_CASE("the vision tower may stand inside the checkpoint") {
  const TempDir folder;
  Tensors tensors = golden_tensors("model_a");
  for (const auto& [name, tensor] : golden_tensors("clip_a"))
    if (name.starts_with("vision_model.")) tensors["model.vision_tower.vision_tower." + name] = tensor;
  write_golden_checkpoint(folder / "model", tensors, TensorFileFormat::safetensors);
  LoadOptions options = golden_options();
  options.vision_tower.clear();
  const Model model = load<GoldenSpec>((folder / "model").string(), options);
  CHECK(answer_a1(model).answer_ids == answer_a1(golden_model()).answer_ids);
}

TEST_CASE("SAM's weights may come from its own file, beside base weights of LLaVA") {
  const TempDir folder;
  const std::string prefix = "model.visual_model.";
  Tensors rest = golden_tensors("model_a");
  NamedTensors sam;
  for (auto entry = rest.begin(); entry != rest.end();) {
    if (entry->first.starts_with(prefix)) {
      sam.emplace_back(entry->first.substr(prefix.size()), entry->second);
      entry = rest.erase(entry);
    } else {
      ++entry;
    }
  }
  write_golden_checkpoint(folder / "model", rest);
  write_torch_file(folder / "sam.pth", sam);
  const std::string path = (folder / "model").string();
  edit(folder / "model" / "config.json", "LISAForCausalLM", "LlavaLlamaForCausalLM");  // as the base weights say
  CHECK(contains(error_of<MismatchError>(path), "model.visual_model.image_encoder.pos_embed"));
  LoadOptions options = golden_options();
  options.sam = (folder / "sam.pth").string();
  const Model model = load<GoldenSpec>(path, options);
  CHECK(iou(answer_a1(model).masks.at(0).bits, answer_a1(golden_model()).masks.at(0).bits) > 0.999);
}

TEST_CASE("names that PEFT has wrapped are understood") {
  const TempDir folder;
  Tensors wrapped;
  for (const auto& [name, tensor] : golden_tensors("model_a")) {
    std::string peft = "base_model.model." + name;
    const std::size_t at = peft.find("q_proj.weight");
    if (at != std::string::npos && peft.find("self_attn") != std::string::npos)
      peft.replace(at, std::string("q_proj.weight").size(), "q_proj.base_layer.weight");
    wrapped[peft] = tensor;
  }
  write_golden_checkpoint(folder / "model", wrapped);
  const Model model = load<GoldenSpec>((folder / "model").string(), golden_options());
  CHECK(answer_a1(model).answer_ids == answer_a1(golden_model()).answer_ids);
}

TEST_CASE("an adapter gives the same beside the weights as folded into them") {
  const TempDir folder;
  write_golden_adapter(folder / "adapter", 16);
  write_golden_adapter(folder / "default", 16, ".default");
  const auto logits = [&](const char* adapter, bool merge) {
    LoadOptions options = golden_options();
    if (adapter != nullptr) options.adapter = (folder / adapter).string();
    options.merge_adapter = merge;
    AnswerTrace trace;
    (void)answer_a1(load<GoldenSpec>(golden_checkpoint, options), &trace);
    return traced(trace, "first_step_logits").clone();
  };
  const at::Tensor without = logits(nullptr, true);
  const at::Tensor merged = logits("adapter", true);
  CHECK(relative_l2(logits("adapter", false), merged) < 1e-5);
  CHECK(relative_l2(logits("default", true), merged) < 1e-6);
  CHECK(relative_l2(merged, without) > 1e-2);
}

TEST_CASE("an adapter of another rank, alpha or set of projections is refused") {
  const TempDir folder;
  LoadOptions options = golden_options();
  write_golden_adapter(folder / "alpha", 32);
  options.adapter = (folder / "alpha").string();
  const std::string alpha = error_of<MismatchError>(golden_checkpoint, options);
  CHECK(contains(alpha, "adapter_config.json"));
  CHECK(contains(alpha, "lora_alpha: found 32"));

  write_golden_adapter(folder / "k", 16);
  options.adapter = (folder / "k").string();
  NamedTensors tensors;
  for (const auto& [name, entry] : read_archive(folder / "k").tensors)
    tensors.emplace_back(name == "base_model.model.model.layers.2.self_attn.v_proj.lora_A.weight"
                             ? "base_model.model.model.layers.2.self_attn.k_proj.lora_A.weight"
                             : name,
                         entry.value.clone());
  write_safetensors(folder / "k" / "adapter_model.safetensors", tensors);
  const std::string projections = error_of<MismatchError>(golden_checkpoint, options);
  CAPTURE(projections);
  CHECK(contains(projections, "model.layers.2.self_attn.v_proj.lora_A.weight: expected [8, 64]"));
  CHECK(contains(projections, "model.layers.2.self_attn.k_proj.lora_A.weight"));
}

TEST_CASE("settings of the files reach the model") {
  const TempDir folder;
  fs::copy(golden_tower, folder / "clip");
  edit(folder / "clip" / "preprocessor_config.json", "\"size\": 224", "\"size\": 256");
  edit(folder / "clip" / "preprocessor_config.json", "0.48145466", "0.5");
  write_golden_checkpoint(folder / "model", golden_tensors("model_a"));
  edit(folder / "model" / "config.json", "\"mm_use_im_start_end\": true", "\"mm_use_im_start_end\": false");
  LoadOptions options = golden_options();
  options.vision_tower = (folder / "clip").string();
  const Model model = load<GoldenSpec>((folder / "model").string(), options);
  CHECK(model.clip_preprocess.shortest_edge == 256);
  CHECK(model.clip_preprocess.crop == 224);
  CHECK(model.clip_preprocess.mean[0] == 0.5F);
  CHECK(model.clip_preprocess.std == ClipPreprocess{}.std);
  CHECK_FALSE(model.image_start_end);
  CHECK(golden_model().clip_preprocess == ClipPreprocess{});
  CHECK(golden_model().image_start_end);

  const Answer answer = answer_a1(model);
  CHECK(std::ranges::count(answer.prompt_ids, model.tokenizer.im_start()) == 0);
  CHECK(std::ranges::count(answer.prompt_ids, image_token_id) == 1);
}

TEST_CASE("what was odd about the files is told") {
  CHECK(golden_model().warnings.empty());
  const TempDir folder;
  write_golden_checkpoint(folder / "model", golden_tensors("model_a"));
  fs::copy_file(folder / "model" / "pytorch_model.bin", folder / "model" / "pytorch_model.copy");
  write_golden_checkpoint(folder / "second", golden_tensors("model_a"), TensorFileFormat::safetensors);
  fs::copy_file(folder / "second" / "model.safetensors", folder / "model" / "model.safetensors");
  const auto expected = read_archive(folder / "model").warnings;
  CHECK(load<GoldenSpec>((folder / "model").string(), golden_options()).warnings == expected);
}
