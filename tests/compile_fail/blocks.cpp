// Numbers that no module can be built with.
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

// expect: Linear: input and output width must be positive
template struct lisa::Linear<0, 4>;

// expect: LayerNorm: width must be positive
template struct lisa::LayerNorm<-1>;

// expect: RmsNorm: width must be positive
template struct lisa::RmsNorm<0>;

// expect: RotaryEmbedding: head_dim must be even
template struct lisa::RotaryEmbedding<7>;

// expect: Llama: heads must divide hidden
template struct lisa::Llama<llama(18, 4, 2), lisa::no_lora>;

// expect: Llama: kv_heads must divide heads
template struct lisa::Llama<llama(16, 4, 3), lisa::no_lora>;

// expect: Llama: rotary embedding needs an even head_dim
template struct lisa::Llama<llama(12, 4, 2), lisa::no_lora>;

// expect: Llama: LoRA rank must not be negative
template struct lisa::Llama<llama(16, 4, 2), lisa::LoraConfig{.rank = -8}>;

// expect: ClipTower: patch must divide image
template struct lisa::ClipTower<lisa::ClipConfig{.image = 225}>;

// expect: ClipTower: feature_layer must lie within the hidden states, -(layers + 1) to layers
template struct lisa::ClipTower<lisa::ClipConfig{.feature_layer = -26}>;

// expect: SamImageEncoder: heads must divide hidden
template struct lisa::SamImageEncoder<lisa::SamConfig{.heads = 15}>;

// expect: SamMaskDecoder: decoder_heads must divide prompt_dim
template struct lisa::SamMaskDecoder<lisa::SamConfig{.decoder_heads = 3}>;

// expect: SamPromptEncoder: mask_in_channels must be a multiple of 4
template struct lisa::SamPromptEncoder<lisa::SamConfig{.mask_in_channels = 6}>;
