// torch-free
// Parameter counts against the published checkpoints: a wrong formula or default does not compile.
#include "lisa/config/clip.hpp"
#include "lisa/config/llama.hpp"
#include "lisa/config/lora.hpp"
#include "lisa/config/mlp.hpp"
#include "lisa/config/sam.hpp"

#include <doctest/doctest.h>

namespace {

// LLaMA (Touvron et al. 2023): safetensors totals of the 7B and 13B models with the original vocabulary.
static_assert(lisa::parameters(lisa::llama_7b) == 6'738'415'616);
static_assert(lisa::parameters(lisa::llama_13b) == 13'015'864'320);
static_assert(lisa::head_dim(lisa::llama_7b) == 128);
static_assert(lisa::kv_dim(lisa::llama_7b) == 4096);

// LoRA of rank 8 on query and value, as LISA trains it.
static_assert(lisa::parameters(lisa::llama_7b, lisa::LoraConfig{}) == 4'194'304);
static_assert(lisa::parameters(lisa::llama_13b, lisa::LoraConfig{}) == 6'553'600);
static_assert(lisa::parameters(lisa::llama_7b, lisa::no_lora) == 0);

// text_hidden_fcs: hidden -> hidden -> 256.
static_assert(lisa::parameters(4096, 256, lisa::MlpConfig{.hidden = 4096}) == 17'830'144);
static_assert(lisa::parameters(5120, 256, lisa::MlpConfig{.hidden = 5120}) == 27'530'496);
static_assert(lisa::parameters(3, 2, lisa::MlpConfig{.layers = 1}) == 8);

// CLIPVisionModel of openai/clip-vit-large-patch14.
static_assert(lisa::parameters(lisa::clip_vit_l14) == 303'179'776);
static_assert(lisa::visual_tokens(lisa::clip_vit_l14) == 256);
static_assert(lisa::visual_tokens(lisa::clip_vit_l14_336) == 576);
static_assert(lisa::visual_tokens({.select = lisa::FeatureSelect::cls_patch}) == 257);
static_assert(lisa::blocks_run(lisa::clip_vit_l14) == 23);
static_assert(lisa::blocks_run({.feature_layer = -1}) == 24);
static_assert(lisa::blocks_run({.feature_layer = 0}) == 0);
static_assert(lisa::blocks_run({.feature_layer = 5}) == 5);

// Segment Anything (Kirillov et al. 2023), facebook/sam-vit-huge, -large and -base.
static_assert(lisa::parameters(lisa::sam_vit_h) == 641'090'608);
static_assert(lisa::parameters(lisa::sam_vit_l) == 312'342'832);
static_assert(lisa::parameters(lisa::sam_vit_b) == 93'735'472);
static_assert(lisa::image_encoder_parameters(lisa::sam_vit_h) == 637'026'048);
static_assert(lisa::mask_decoder_parameters(lisa::sam_vit_h) == 4'058'340);
static_assert(lisa::grid(lisa::sam_vit_h) == 64);
static_assert(lisa::low_res(lisa::sam_vit_h) == 256);
static_assert(lisa::attention_side(lisa::sam_vit_h, 7) == 64);
static_assert(lisa::attention_side(lisa::sam_vit_h, 8) == 14);

}  // namespace

TEST_CASE("grouped-query attention shrinks only the key and value projections") {
  constexpr lisa::LlamaConfig full{.hidden = 64, .mlp = 128, .layers = 3, .heads = 8, .kv_heads = 8};
  constexpr lisa::LlamaConfig grouped{.hidden = 64, .mlp = 128, .layers = 3, .heads = 8, .kv_heads = 2};
  CHECK(lisa::parameters(full) - lisa::parameters(grouped) == 3 * 2 * 64 * (64 - 16));
}

TEST_CASE("adapters count rank times input plus output of each adapted projection") {
  constexpr lisa::LlamaConfig model{.hidden = 64, .mlp = 96, .layers = 2, .heads = 8, .kv_heads = 2};
  const auto count = [&](lisa::LoraConfig lora) {
    lora.rank = 3;
    return lisa::parameters(model, lora);
  };
  CHECK(count({.q = true, .v = false}) == 2 * 3 * (64 + 64));
  CHECK(count({.q = false, .k = true, .v = false}) == 2 * 3 * (64 + 16));
  CHECK(count({.q = false, .v = true}) == 2 * 3 * (64 + 16));
  CHECK(count({.q = false, .v = false, .o = true}) == 2 * 3 * (64 + 64));
  CHECK(count({.q = false, .v = false, .gate = true}) == 2 * 3 * (64 + 96));
  CHECK(count({.q = false, .v = false, .up = true}) == 2 * 3 * (64 + 96));
  CHECK(count({.q = false, .v = false, .down = true}) == 2 * 3 * (96 + 64));
  CHECK(lisa::scaling(lisa::LoraConfig{}) == 2.0);
  CHECK(lisa::scaling(lisa::no_lora) == 0.0);
}

TEST_CASE("a set of blocks contains what it was given") {
  constexpr lisa::BlockSet blocks{0, 7, 63};
  for (int block = -2; block < 70; ++block) CHECK(blocks.contains(block) == (block == 0 || block == 7 || block == 63));
  CHECK(blocks == lisa::BlockSet{63, 0, 7});
  CHECK_FALSE(blocks == lisa::BlockSet{0, 7});
}
