#pragma once

#include <string_view>

#include "lisa/config/presets.hpp"

namespace lisa::test {

/// All parts of a model at sizes at which finite differences and many runs are cheap: windows that do not divide the
/// grid, grouped-query heads, adapters on every projection.
struct MiniSpec : Lisa7B {
  static constexpr std::string_view name = "mini";
  static constexpr LlamaConfig llm{
      .vocab = 30, .hidden = 12, .mlp = 16, .layers = 2, .heads = 2, .kv_heads = 1, .context = 40};
  static constexpr LoraConfig lora{.rank = 2, .alpha = 4, .k = true, .o = true, .gate = true, .up = true, .down = true};
  static constexpr ClipConfig vision{
      .image = 8, .patch = 4, .hidden = 8, .mlp = 12, .layers = 2, .heads = 2, .feature_layer = -2};
  static constexpr SamConfig sam{.image = 20,
                                 .patch = 4,
                                 .hidden = 8,
                                 .mlp = 12,
                                 .layers = 2,
                                 .heads = 2,
                                 .window = 3,
                                 .global_blocks = {1},
                                 .prompt_dim = 8,
                                 .decoder_layers = 2,
                                 .decoder_heads = 2,
                                 .decoder_mlp = 12,
                                 .multimask_outputs = 1,
                                 .iou_head_hidden = 8,
                                 .mask_in_channels = 4};
  static constexpr MlpConfig seg{.hidden = 12, .layers = 2};
  static constexpr MlpConfig visual_projector{.hidden = 12, .layers = 2};
};

}  // namespace lisa::test
