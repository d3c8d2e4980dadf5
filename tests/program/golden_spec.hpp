// Derived from "golden/model_a" by `lisa info --spec`.
#pragma once

#include <string_view>

#include <lisa/config/presets.hpp>

struct GoldenSpec : lisa::Lisa7B {
  static constexpr std::string_view name = "model_a";
  static constexpr lisa::LlamaConfig llm{.vocab = 704,
                                         .hidden = 64,
                                         .mlp = 176,
                                         .layers = 3,
                                         .heads = 4,
                                         .kv_heads = 4,
                                         .context = 2048,
                                         .eps = 1e-06,
                                         .rope_theta = 10000};
  // The files hold no adapter: LISA's recipe, which only training uses.
  static constexpr lisa::LoraConfig lora{.rank = 8,
                                         .alpha = 16,
                                         .dropout = 0.05,
                                         .q = true,
                                         .k = false,
                                         .v = true,
                                         .o = false,
                                         .gate = false,
                                         .up = false,
                                         .down = false};
  static constexpr lisa::ClipConfig vision{.image = 224,
                                           .patch = 14,
                                           .hidden = 32,
                                           .mlp = 64,
                                           .layers = 3,
                                           .heads = 4,
                                           .eps = 1e-05,
                                           .feature_layer = -2,
                                           .select = lisa::FeatureSelect::patch};
  static constexpr lisa::SamConfig sam{.image = 256,
                                       .patch = 16,
                                       .hidden = 32,
                                       .mlp = 128,
                                       .layers = 4,
                                       .heads = 2,
                                       .window = 14,
                                       .global_blocks = {1, 3},
                                       .prompt_dim = 32,
                                       .decoder_layers = 2,
                                       .decoder_heads = 4,
                                       .decoder_mlp = 64,
                                       .attention_downsample = 2,
                                       .multimask_outputs = 3,
                                       .iou_head_layers = 3,
                                       .iou_head_hidden = 32,
                                       .mask_in_channels = 16};
  static constexpr lisa::MlpConfig seg{.hidden = 64, .layers = 2};
  // 1 layer: linear; 2 layers: mlp2x_gelu.
  static constexpr lisa::MlpConfig visual_projector{.hidden = 64, .layers = 1};
};
