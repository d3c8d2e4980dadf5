// torch-free
#include "lisa/checkpoint/derive_spec.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "lisa/checkpoint/checkpoint_folder.hpp"
#include "lisa/config/presets.hpp"
#include "tests/support/bad_input.hpp"

#include <doctest/doctest.h>

using namespace lisa;
using lisa::test::broken_promises;

namespace {

using Tensors = std::vector<StoredTensor>;

/// Names and shapes of a checkpoint of any sizes, as LISA's merge script saves it.
class Layout {
 public:
  Tensors tensors;

  void add(const std::string& name, std::vector<dim> shape) {
    tensors.push_back({.name = name, .shape = std::move(shape)});
  }
  void linear(const std::string& name, dim out, dim in) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  }

  void llama(const LlamaConfig& c) {
    add("model.embed_tokens.weight", {c.vocab, c.hidden});
    add("model.norm.weight", {c.hidden});
    add("lm_head.weight", {c.vocab, c.hidden});
    for (dim i = 0; i < c.layers; ++i) {
      const std::string b = "model.layers." + std::to_string(i) + ".";
      add(b + "self_attn.q_proj.weight", {c.hidden, c.hidden});
      add(b + "self_attn.k_proj.weight", {kv_dim(c), c.hidden});
      add(b + "self_attn.v_proj.weight", {kv_dim(c), c.hidden});
      add(b + "self_attn.o_proj.weight", {c.hidden, c.hidden});
      add(b + "self_attn.rotary_emb.inv_freq", {head_dim(c) / 2});
      add(b + "mlp.gate_proj.weight", {c.mlp, c.hidden});
      add(b + "mlp.up_proj.weight", {c.mlp, c.hidden});
      add(b + "mlp.down_proj.weight", {c.hidden, c.mlp});
      add(b + "input_layernorm.weight", {c.hidden});
      add(b + "post_attention_layernorm.weight", {c.hidden});
    }
  }

  void sam(const SamConfig& c) {
    const std::string e = "model.visual_model.image_encoder.";
    add(e + "pos_embed", {1, grid(c), grid(c), c.hidden});
    add(e + "patch_embed.proj.weight", {c.hidden, 3, c.patch, c.patch});
    for (dim i = 0; i < c.layers; ++i) {
      const std::string b = e + "blocks." + std::to_string(i) + ".";
      add(b + "attn.rel_pos_h", {2 * attention_side(c, i) - 1, head_dim(c)});
      add(b + "attn.rel_pos_w", {2 * attention_side(c, i) - 1, head_dim(c)});
      linear(b + "attn.qkv", 3 * c.hidden, c.hidden);
      linear(b + "mlp.lin1", c.mlp, c.hidden);
    }
    add(e + "neck.0.weight", {c.prompt_dim, c.hidden, 1, 1});
    const std::string p = "model.visual_model.prompt_encoder.";
    add(p + "no_mask_embed.weight", {1, c.prompt_dim});
    add(p + "pe_layer.positional_encoding_gaussian_matrix", {2, c.prompt_dim / 2});
    add(p + "mask_downscaling.3.weight", {c.mask_in_channels, c.mask_in_channels / 4, 2, 2});
    const std::string d = "model.visual_model.mask_decoder.";
    for (dim i = 0; i < c.decoder_layers; ++i) {
      const std::string b = d + "transformer.layers." + std::to_string(i) + ".";
      linear(b + "self_attn.q_proj", c.prompt_dim, c.prompt_dim);
      linear(b + "cross_attn_token_to_image.q_proj", c.prompt_dim / c.attention_downsample, c.prompt_dim);
      linear(b + "mlp.lin1", c.decoder_mlp, c.prompt_dim);
    }
    add(d + "mask_tokens.weight", {mask_tokens(c), c.prompt_dim});
    for (dim i = 0; i < c.iou_head_layers; ++i)
      linear(d + "iou_prediction_head.layers." + std::to_string(i),
             i + 1 == c.iou_head_layers ? mask_tokens(c) : c.iou_head_hidden,
             i == 0 ? c.prompt_dim : c.iou_head_hidden);
  }

  void mlp(const std::string& prefix, dim in, dim out, const MlpConfig& c) {
    for (dim i = 0; i < c.layers; ++i)
      linear(prefix + std::to_string(2 * i), i + 1 == c.layers ? out : c.hidden, i == 0 ? in : c.hidden);
  }
};

Tensors layout_of(const SpecConfigs& spec) {
  Layout layout;
  layout.llama(spec.llm);
  layout.sam(spec.sam);
  layout.mlp("model.text_hidden_fcs.0.", spec.llm.hidden, spec.sam.prompt_dim, spec.seg);
  if (spec.visual_projector.layers == 1)
    layout.linear("model.mm_projector", spec.llm.hidden, spec.vision.hidden);
  else
    layout.mlp("model.mm_projector.", spec.vision.hidden, spec.llm.hidden, spec.visual_projector);
  return layout.tensors;
}

CheckpointConfig config_of(const SpecConfigs& spec) {
  CheckpointConfig config{.file = "config.json", .architecture = "LISAForCausalLM", .llm = spec.llm};
  config.feature_layer = spec.vision.feature_layer;
  config.select = spec.vision.select;
  config.vision_hidden = spec.vision.hidden;
  config.seg_width = spec.sam.prompt_dim;
  return config;
}

SpecSources sources(const SpecConfigs& spec, const Tensors& tensors) {
  return {.folder = "checkpoint", .config = config_of(spec), .tensors = tensors, .vision = spec.vision};
}

void check_equal(const DerivedSpec& derived, const SpecConfigs& expected) {
  CHECK(derived.llm == expected.llm);
  CHECK(derived.vision == expected.vision);
  CHECK(derived.sam == expected.sam);
  CHECK(derived.seg == expected.seg);
  CHECK(derived.visual_projector == expected.visual_projector);
}

/// Sizes that no preset has: grouped-query attention, head sizes that are no powers of two, deeper perceptrons.
SpecConfigs unusual() {
  return {
      .name = "unusual",
      .llm = {.vocab = 1003, .hidden = 96, .mlp = 200, .layers = 2, .heads = 8, .kv_heads = 2},
      .lora = {},
      .vision = {.image = 336, .hidden = 48, .mlp = 96, .layers = 4, .heads = 4, .select = FeatureSelect::cls_patch},
      .sam = {.image = 320,
              .patch = 16,
              .hidden = 72,
              .mlp = 100,
              .layers = 5,
              .heads = 6,
              .window = 7,
              .global_blocks = {1, 4},
              .prompt_dim = 64,
              .decoder_layers = 3,
              .decoder_mlp = 80,
              .attention_downsample = 4,
              .multimask_outputs = 2,
              .iou_head_layers = 2,
              .iou_head_hidden = 40,
              .mask_in_channels = 8},
      .seg = {.hidden = 120, .layers = 3},
      .visual_projector = {.hidden = 88, .layers = 3}};
}

Tensors golden_tensors(const char* folder) {
  CheckpointContent content = open_checkpoint(std::string(LISA_TEST_DATA "/golden/") + folder);
  Tensors tensors;
  for (const TensorFile& file : content.files) tensors.insert(tensors.end(), file.tensors.begin(), file.tensors.end());
  return tensors;
}

}  // namespace

TEST_CASE("the golden checkpoint's sizes are found, the mask decoder's heads are assumed") {
  const Tensors tensors = golden_tensors("model_a"), vision = golden_tensors("clip_a");
  SpecSources from{.folder = "model_a",
                   .config = read_checkpoint_config(LISA_TEST_DATA "/golden/model_a"),
                   .tensors = tensors,
                   .vision = read_clip_config(LISA_TEST_DATA "/golden/clip_a"),
                   .vision_tensors = vision};
  SpecConfigs expected{.name = "model_a",
                       .llm = {.vocab = 704, .hidden = 64, .mlp = 176, .layers = 3, .heads = 4, .kv_heads = 4},
                       .lora = {},
                       .vision = {.hidden = 32, .mlp = 64, .layers = 3, .heads = 4},
                       .sam = {.image = 256,
                               .hidden = 32,
                               .mlp = 128,
                               .layers = 4,
                               .heads = 2,
                               .global_blocks = {1, 3},
                               .prompt_dim = 32,
                               .decoder_mlp = 64,
                               .iou_head_hidden = 32},
                       .seg = {.hidden = 64, .layers = 2},
                       .visual_projector = {.hidden = 64, .layers = 1}};
  const DerivedSpec derived = derive_spec(from);
  check_equal(derived, expected);
  CHECK(!derived.decoder_heads_given);
  CHECK(!derived.adapter_found);

  from.decoder_heads = 4;
  expected.sam.decoder_heads = 4;
  check_equal(derive_spec(from), expected);
}

TEST_CASE("every preset's sizes are found again") {
  for_each_preset([]<class Spec>() {
    CAPTURE(Spec::name);
    const SpecConfigs spec = spec_configs<Spec>();
    const Tensors tensors = layout_of(spec);
    SpecSources from = sources(spec, tensors);
    // No shape tells them: SAM's own number is taken unless another is given.
    if (spec.sam.decoder_heads != SamConfig().decoder_heads) from.decoder_heads = spec.sam.decoder_heads;
    check_equal(derive_spec(from), spec);
  });
}

TEST_CASE("unusual sizes are found again") {
  check_equal(derive_spec(sources(unusual(), layout_of(unusual()))), unusual());
}

TEST_CASE("any sizes are found again") {
  const auto size = [](dim lowest, dim highest) { return *rc::gen::inRange<dim>(lowest, highest + 1); };
  CHECK(rc::check("derive_spec inverts the layout", [&] {
    SpecConfigs spec = unusual();
    spec.llm.kv_heads = size(1, 3);
    spec.llm.heads = spec.llm.kv_heads * size(1, 3);
    spec.llm.hidden = spec.llm.heads * 2 * size(1, 9);
    spec.llm.mlp = size(1, 50);
    spec.llm.layers = size(1, 3);
    spec.sam.heads = size(1, 4);
    spec.sam.hidden = spec.sam.heads * size(1, 9);
    spec.sam.image = spec.sam.patch * size(8, 20);
    spec.sam.layers = size(2, 6);
    spec.sam.global_blocks.bits = static_cast<std::uint64_t>(size(0, (dim{1} << spec.sam.layers) - 2));
    spec.seg.layers = size(2, 4);
    spec.visual_projector.layers = size(2, 4);
    const DerivedSpec derived = derive_spec(sources(spec, layout_of(spec)));
    RC_ASSERT(derived.llm == spec.llm);
    RC_ASSERT(derived.sam == spec.sam);
    RC_ASSERT(derived.seg == spec.seg);
    RC_ASSERT(derived.visual_projector == spec.visual_projector);
  }));
}

TEST_CASE("an encoder without windows is all global attention") {
  SpecConfigs spec = unusual();
  spec.sam.window = 0;
  spec.sam.global_blocks = {};
  check_equal(derive_spec(sources(spec, layout_of(spec))), spec);
}

TEST_CASE("unmerged adapters are found under PEFT's names") {
  const SpecConfigs spec = unusual();
  Tensors tensors = layout_of(spec);
  for (StoredTensor& tensor : tensors) {
    for (const char* projection : {"q_proj.weight", "down_proj.weight"})
      if (const std::size_t at = tensor.name.find(projection); at != std::string::npos &&
                                                               tensor.name.find("layers") != std::string::npos &&
                                                               tensor.name.find("visual") == std::string::npos)
        tensor.name.insert(tensor.name.size() - 6, "base_layer.");
    tensor.name.insert(0, "base_model.model.");
  }
  for (dim block = 0; block < spec.llm.layers; ++block) {
    const std::string b = "base_model.model.model.layers." + std::to_string(block) + ".";
    tensors.push_back({.name = b + "self_attn.q_proj.lora_A.default.weight", .shape = {4, spec.llm.hidden}});
    tensors.push_back({.name = b + "self_attn.q_proj.lora_B.default.weight", .shape = {spec.llm.hidden, 4}});
    tensors.push_back({.name = b + "mlp.down_proj.lora_A.weight", .shape = {4, spec.llm.mlp}});
    tensors.push_back({.name = b + "mlp.down_proj.lora_B.weight", .shape = {spec.llm.hidden, 4}});
  }
  SpecSources from = sources(spec, tensors);
  const DerivedSpec plain = derive_spec(from);
  CHECK(plain.adapter_found);
  CHECK(plain.lora == LoraConfig{.rank = 4, .q = true, .v = false, .down = true});
  from.adapter = LoraConfig{.rank = 4, .alpha = 32, .dropout = 0.1};
  CHECK(derive_spec(from).lora ==
        LoraConfig{.rank = 4, .alpha = 32, .dropout = 0.1, .q = true, .v = false, .down = true});
  from.adapter->rank = 8;
  CHECK(broken_promises({.row = "rank", .kind = ErrorKind::mismatch, .words = {"lora_A", "rank 4", "expected 8"}},
                        [&] { (void)derive_spec(from); }) == "");
}

TEST_CASE("shapes that contradict each other are all named") {
  const SpecConfigs spec = unusual();
  const auto check = [&](const char* row, auto&& change, std::vector<std::string> words) {
    CAPTURE(row);
    Tensors tensors = layout_of(spec);
    change(tensors);
    const SpecSources from = sources(spec, tensors);
    CHECK(broken_promises({.row = row, .kind = ErrorKind::mismatch, .file = "checkpoint", .words = std::move(words)},
                          [&] { (void)derive_spec(from); }) == "");
  };
  const auto at = [](Tensors& tensors, const std::string& name) -> std::vector<dim>& {
    return std::ranges::find(tensors, name, &StoredTensor::name)->shape;
  };
  const auto drop = [](Tensors& tensors, const std::string& part) {
    std::erase_if(tensors, [&](const StoredTensor& t) { return t.name.find(part) != std::string::npos; });
  };
  const std::string sam = "model.visual_model.";
  check("86 embedding", [&](Tensors& t) { at(t, "model.embed_tokens.weight") = {1003, 95}; },
        {"model.embed_tokens.weight: found [1003, 95], expected [any, 96]"});
  check("86 head", [&](Tensors& t) { at(t, "lm_head.weight") = {1004, 96}; },
        {"lm_head.weight: found [1004, 96], expected [1003, 96]"});
  check("86 kv", [&](Tensors& t) { at(t, "model.layers.0.self_attn.k_proj.weight") = {48, 96}; },
        {"k_proj", "48 rows (4 heads of 12)", "num_key_value_heads 2"});
  check("86 later block", [&](Tensors& t) { at(t, "model.layers.1.mlp.up_proj.weight") = {201, 96}; },
        {"model.layers.1.mlp.up_proj.weight", "[201, 96]", "[200, 96]"});
  check("86 layers", [&](Tensors& t) { drop(t, "model.layers.1."); }, {"model.layers.*", "1 blocks", "2"});
  check("86 hole", [&](Tensors& t) { drop(t, "blocks.2."); }, {"blocks.2: missing, while 4 exists"});
  check("86 rank", [&](Tensors& t) { at(t, sam + "image_encoder.pos_embed") = {20, 20, 72}; },
        {"pos_embed", "[20, 20, 72]"});
  check("86 oblong", [&](Tensors& t) { at(t, sam + "image_encoder.pos_embed") = {1, 20, 21, 72}; }, {"square"});
  check("86 window",
        [&](Tensors& t) {
          for (const char* axis : {"h", "w"}) at(t, sam + "image_encoder.blocks.2.attn.rel_pos_" + axis) = {17, 12};
        },
        {"blocks.2.attn.rel_pos_h", "a window of 9", "7"});
  check("86 even table",
        [&](Tensors& t) {
          for (const char* axis : {"h", "w"}) at(t, sam + "image_encoder.blocks.0.attn.rel_pos_" + axis) = {14, 12};
        },
        {"blocks.0", "14 rows", "odd"});
  check("86 head size",
        [&](Tensors& t) {
          for (StoredTensor& tensor : t)
            if (tensor.name.find("rel_pos") != std::string::npos) tensor.shape[1] = 7;
        },
        {"head size 7", "72"});
  check("86 zero", [&](Tensors& t) { at(t, sam + "mask_decoder.mask_tokens.weight") = {0, 64}; }, {"mask_tokens"});
  check("86 projector", [&](Tensors& t) { at(t, "model.mm_projector.0.weight") = {88, 47}; },
        {"model.mm_projector.0.weight", "[88, 47]", "48"});
  check("86 [SEG] width", [&](Tensors& t) { at(t, "model.text_hidden_fcs.0.4.weight") = {63, 120}; },
        {"model.text_hidden_fcs.0.4.weight", "[63, 120]", "[64, 120]"});
  check("86 decoder heads",
        [&](Tensors& t) {
          for (dim i = 0; i < 3; ++i)
            at(t, sam + "mask_decoder.transformer.layers." + std::to_string(i) +
                      ".cross_attn_token_to_image.q_proj.weight") = {4, 64};
        },
        {"4 rows", "8 heads"});
  check("87 no SAM", [&](Tensors& t) { drop(t, "visual_model"); },
        {"image_encoder.patch_embed.proj.weight: missing", "mask_tokens.weight: missing"});
  check("87 nothing", [](Tensors& t) { t.clear(); }, {"model.embed_tokens.weight: missing", "defects"});

  Tensors tensors = layout_of(spec);
  SpecSources from = sources(spec, tensors);
  from.config.feature_layer = -9;
  CHECK(broken_promises({.row = "layer", .kind = ErrorKind::mismatch, .words = {"mm_vision_select_layer", "-9"}},
                        [&] { (void)derive_spec(from); }) == "");
  from = sources(spec, tensors);
  from.decoder_heads = 0;
  CHECK(broken_promises({.row = "heads", .kind = ErrorKind::input, .words = {"0", "at least 1"}},
                        [&] { (void)derive_spec(from); }) == "");
  const Tensors other_tower = golden_tensors("clip_a");
  from = sources(spec, tensors);
  from.vision_tensors = other_tower;
  CHECK(broken_promises({.row = "tower", .kind = ErrorKind::mismatch, .words = {"vision tower", "patch_embedding"}},
                        [&] { (void)derive_spec(from); }) == "");
}

TEST_CASE("the header is what a program is built from") {
  const SpecConfigs spec = unusual();
  const Tensors tensors = layout_of(spec);
  SpecSources from = sources(spec, tensors);
  from.folder = "/data/my \"model\"\n";
  const std::string header = spec_header(derive_spec(from), "MySpec");
  CHECK(header ==
        R"x(// Derived from "/data/my "model"\x0a" by `lisa info --spec`.
#pragma once

#include <string_view>

#include <lisa/config/presets.hpp>

struct MySpec : lisa::Lisa7B {
  static constexpr std::string_view name = "my__model__";
  static constexpr lisa::LlamaConfig llm{.vocab = 1003, .hidden = 96, .mlp = 200, .layers = 2, .heads = 8, .kv_heads = 2, .context = 2048, .eps = 1e-06, .rope_theta = 10000};
  // The files hold no adapter: LISA's recipe, which only training uses.
  static constexpr lisa::LoraConfig lora{.rank = 8, .alpha = 16, .dropout = 0.05, .q = true, .k = false, .v = true, .o = false, .gate = false, .up = false, .down = false};
  static constexpr lisa::ClipConfig vision{.image = 336, .patch = 14, .hidden = 48, .mlp = 96, .layers = 4, .heads = 4, .eps = 1e-05, .feature_layer = -2, .select = lisa::FeatureSelect::cls_patch};
  // No shape tells the mask decoder's heads: decoder_heads is SAM's default.
  static constexpr lisa::SamConfig sam{.image = 320, .patch = 16, .hidden = 72, .mlp = 100, .layers = 5, .heads = 6, .window = 7, .global_blocks = {1, 4}, .prompt_dim = 64, .decoder_layers = 3, .decoder_heads = 8, .decoder_mlp = 80, .attention_downsample = 4, .multimask_outputs = 2, .iou_head_layers = 2, .iou_head_hidden = 40, .mask_in_channels = 8};
  static constexpr lisa::MlpConfig seg{.hidden = 120, .layers = 3};
  // 1 layer: linear; 2 layers: mlp2x_gelu.
  static constexpr lisa::MlpConfig visual_projector{.hidden = 88, .layers = 3};
};
)x");
  from.decoder_heads = 4;
  CHECK(spec_header(derive_spec(from)).find("No shape tells") == std::string::npos);
  CHECK(broken_promises({.row = "name", .kind = ErrorKind::input, .words = {"\"1x\"", "identifier"}},
                        [&] { (void)spec_header(derive_spec(from), "1x"); }) == "");
}
