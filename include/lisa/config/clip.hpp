#pragma once

#include "lisa/config/dim.hpp"

namespace lisa {

/// Which rows of the vision tower's hidden state become visual tokens (LLaVA's mm_vision_select_feature).
enum class FeatureSelect {
  patch,      ///< the patch tokens, class token dropped
  cls_patch,  ///< class token first, then the patches
};

/// Numbers of a CLIP vision transformer. Defaults are ViT-L/14 at 224 px (Radford et al. 2021).
struct ClipConfig {
  dim image = 224;  ///< square input side, pixels
  dim patch = 14;   ///< patch side, pixels
  dim hidden = 1024;
  dim mlp = 4096;
  dim layers = 24;
  dim heads = 16;
  double eps = 1e-5;       ///< LayerNorm epsilon
  dim feature_layer = -2;  ///< index into hidden_states; negative counts from the end, 0 is the embedding
  FeatureSelect select = FeatureSelect::patch;
  bool operator==(const ClipConfig&) const = default;
};

/// Names of the tower's own config.json (vision_config) and, for the last two, of LISA's config.json.
template <class Config, class Visitor>
  requires SameConfig<Config, ClipConfig>
constexpr void fields(Config& c, Visitor&& visit) {
  visit("image_size", c.image);
  visit("patch_size", c.patch);
  visit("hidden_size", c.hidden);
  visit("intermediate_size", c.mlp);
  visit("num_hidden_layers", c.layers);
  visit("num_attention_heads", c.heads);
  visit("layer_norm_eps", c.eps);
  visit("mm_vision_select_layer", c.feature_layer);
  visit("mm_vision_select_feature", c.select);
}

constexpr dim grid(const ClipConfig& c) { return c.patch == 0 ? 0 : c.image / c.patch; }

/// Rows that the tower hands to the language model for one image.
constexpr dim visual_tokens(const ClipConfig& c) {
  return grid(c) * grid(c) + (c.select == FeatureSelect::cls_patch ? 1 : 0);
}

/// Encoder blocks that have to run to reach `feature_layer`; the rest of the tower is never needed.
constexpr dim blocks_run(const ClipConfig& c) {
  return c.feature_layer < 0 ? c.layers + 1 + c.feature_layer : c.feature_layer;
}

/// Parameters of CLIPVisionModel, post_layernorm and unused blocks included.
constexpr dim parameters(const ClipConfig& c) {
  const dim positions = grid(c) * grid(c) + 1;
  const dim embeddings = c.hidden + 3 * c.patch * c.patch * c.hidden + positions * c.hidden;
  const dim block = 4 * (c.hidden * c.hidden + c.hidden) + 2 * c.hidden * c.mlp + c.mlp + c.hidden + 4 * c.hidden;
  return embeddings + c.layers * block + 4 * c.hidden;
}

inline constexpr ClipConfig clip_vit_l14{};
inline constexpr ClipConfig clip_vit_l14_336{.image = 336};

}  // namespace lisa
