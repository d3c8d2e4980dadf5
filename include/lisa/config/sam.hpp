#pragma once

#include <cstdint>
#include <initializer_list>

#include "lisa/config/dim.hpp"

namespace lisa {

/// A set of block indices 0..63, usable in a template argument.
struct BlockSet {
  std::uint64_t bits = 0;

  constexpr BlockSet() = default;
  constexpr BlockSet(std::initializer_list<int> blocks) {
    for (const int block : blocks) bits |= std::uint64_t{1} << block;
  }
  [[nodiscard]] constexpr bool contains(dim block) const {
    return block >= 0 && block < 64 && ((bits >> block) & 1U) != 0;
  }
  bool operator==(const BlockSet&) const = default;
};

/// Numbers of a Segment Anything model (Kirillov et al. 2023). Defaults are ViT-H as LISA uses it
/// (segment_anything/build_sam.py).
struct SamConfig {
  dim image = 1024;  ///< square input side after padding, pixels
  dim patch = 16;
  dim hidden = 1280;  ///< width of the image encoder
  dim mlp = 5120;
  dim layers = 32;
  dim heads = 16;
  dim window = 14;  ///< attention window side in tokens, of all blocks but the global ones
  BlockSet global_blocks{7, 15, 23, 31};
  dim prompt_dim = 256;    ///< width of image embedding, prompts and mask decoder
  dim decoder_layers = 2;  ///< two-way attention blocks
  dim decoder_heads = 8;
  dim decoder_mlp = 2048;
  dim attention_downsample = 2;  ///< width divisor inside the decoder's cross attentions
  dim multimask_outputs = 3;     ///< further mask tokens beside the single-mask one
  dim iou_head_layers = 3;
  dim iou_head_hidden = 256;
  dim mask_in_channels = 16;  ///< width of the (unused) mask prompt's convolutions
  bool operator==(const SamConfig&) const = default;
};

/// Names are those of SAM's own constructors.
template <class Config, class Visitor>
  requires SameConfig<Config, SamConfig>
constexpr void fields(Config& c, Visitor&& visit) {
  visit("img_size", c.image);
  visit("patch_size", c.patch);
  visit("embed_dim", c.hidden);
  visit("mlp_dim", c.mlp);
  visit("depth", c.layers);
  visit("num_heads", c.heads);
  visit("window_size", c.window);
  visit("global_attn_indexes", c.global_blocks);
  visit("out_chans", c.prompt_dim);
  visit("decoder_depth", c.decoder_layers);
  visit("decoder_num_heads", c.decoder_heads);
  visit("decoder_mlp_dim", c.decoder_mlp);
  visit("attention_downsample_rate", c.attention_downsample);
  visit("num_multimask_outputs", c.multimask_outputs);
  visit("iou_head_depth", c.iou_head_layers);
  visit("iou_head_hidden_dim", c.iou_head_hidden);
  visit("mask_in_chans", c.mask_in_channels);
}

/// Side of the token grid and of the image embedding.
constexpr dim grid(const SamConfig& c) { return c.patch == 0 ? 0 : c.image / c.patch; }
constexpr dim head_dim(const SamConfig& c) { return c.heads == 0 ? 0 : c.hidden / c.heads; }
constexpr dim mask_tokens(const SamConfig& c) { return c.multimask_outputs + 1; }
/// Side of the decoder's masks before upsampling.
constexpr dim low_res(const SamConfig& c) { return 4 * grid(c); }

/// Side of the attention of one block, in tokens: the window's or, in a global block, the grid's.
constexpr dim attention_side(const SamConfig& c, dim block) {
  return c.window == 0 || c.global_blocks.contains(block) ? grid(c) : c.window;
}

constexpr dim image_encoder_parameters(const SamConfig& c) {
  dim total = grid(c) * grid(c) * c.hidden + (3 * c.patch * c.patch + 1) * c.hidden;
  for (dim block = 0; block < c.layers; ++block) {
    total += 4 * c.hidden + 4 * c.hidden * c.hidden + 4 * c.hidden + 2 * c.hidden * c.mlp + c.mlp + c.hidden;
    total += 2 * (2 * attention_side(c, block) - 1) * head_dim(c);
  }
  return total + c.hidden * c.prompt_dim + 9 * c.prompt_dim * c.prompt_dim + 4 * c.prompt_dim;
}

constexpr dim prompt_encoder_parameters(const SamConfig& c) {
  const dim m = c.mask_in_channels, q = m / 4;
  const dim mask_downscaling = (4 * q + q) + 2 * q + (4 * q * m + m) + 2 * m + (m * c.prompt_dim + c.prompt_dim);
  return 4 * c.prompt_dim + 2 * c.prompt_dim + mask_downscaling;  // the positional matrix is a buffer
}

constexpr dim mask_decoder_parameters(const SamConfig& c) {
  const dim d = c.prompt_dim, inner = c.attention_downsample == 0 ? 0 : d / c.attention_downsample;
  const auto attention = [d](dim i) { return 3 * (d * i + i) + i * d + d; };
  const dim norm = 2 * d;
  const dim layer = attention(d) + 2 * attention(inner) + 2 * d * c.decoder_mlp + c.decoder_mlp + d + 4 * norm;
  const dim transformer = c.decoder_layers * layer + attention(inner) + norm;
  const dim tokens = (1 + mask_tokens(c)) * d;
  const dim upscaling = (d * (d / 4) * 4 + d / 4) + 2 * (d / 4) + ((d / 4) * (d / 8) * 4 + d / 8);
  const dim hypernetwork = 2 * (d * d + d) + d * (d / 8) + d / 8;
  const auto mlp = [&](dim in, dim hidden, dim out, dim layers) {
    return layers == 1 ? in * out + out
                       : in * hidden + hidden + (layers - 2) * (hidden * hidden + hidden) + hidden * out + out;
  };
  return transformer + tokens + upscaling + mask_tokens(c) * hypernetwork +
         mlp(d, c.iou_head_hidden, mask_tokens(c), c.iou_head_layers);
}

constexpr dim parameters(const SamConfig& c) {
  return image_encoder_parameters(c) + prompt_encoder_parameters(c) + mask_decoder_parameters(c);
}

inline constexpr SamConfig sam_vit_h{};
inline constexpr SamConfig sam_vit_l{
    .hidden = 1024, .mlp = 4096, .layers = 24, .heads = 16, .global_blocks = {5, 11, 17, 23}};
inline constexpr SamConfig sam_vit_b{
    .hidden = 768, .mlp = 3072, .layers = 12, .heads = 12, .global_blocks = {2, 5, 8, 11}};

}  // namespace lisa
