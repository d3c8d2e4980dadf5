// The same modules with numbers that fit.
#include "lisa/llm/llama.hpp"
#include "lisa/nn/layer_norm.hpp"
#include "lisa/nn/linear.hpp"
#include "lisa/nn/mlp.hpp"
#include "lisa/nn/rms_norm.hpp"
#include "lisa/nn/rotary.hpp"
#include "lisa/sam/image_encoder.hpp"
#include "lisa/sam/mask_decoder.hpp"
#include "lisa/sam/prompt_encoder.hpp"
#include "lisa/vision/clip_tower.hpp"

constexpr lisa::LlamaConfig llama(lisa::dim hidden, lisa::dim heads, lisa::dim kv_heads) {
  return {.vocab = 32, .hidden = hidden, .mlp = 24, .layers = 2, .heads = heads, .kv_heads = kv_heads};
}

template struct lisa::Linear<1, 4>;
template struct lisa::LayerNorm<1>;
template struct lisa::RmsNorm<1>;
template struct lisa::RotaryEmbedding<8>;
template struct lisa::Llama<llama(24, 4, 2), lisa::no_lora>;
template struct lisa::Llama<llama(16, 4, 2), lisa::LoraConfig{.rank = 8}>;
template struct lisa::ClipTower<lisa::ClipConfig{.image = 336, .feature_layer = -25}>;
template struct lisa::SamImageEncoder<lisa::SamConfig{.heads = 10}>;
template struct lisa::SamMaskDecoder<lisa::SamConfig{.decoder_heads = 4}>;
template struct lisa::SamPromptEncoder<lisa::SamConfig{.mask_in_channels = 4}>;
