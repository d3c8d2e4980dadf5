#pragma once

#include <string_view>
#include <utility>

#include "lisa/config/spec.hpp"

namespace lisa {

// The modules that fill the slots. Declared here so that a specification needs no libtorch; defined in llm/, vision/,
// sam/ and model/.
template <LlamaConfig C, LoraConfig L>
struct Llama;
template <ClipConfig C>
struct ClipTower;
template <dim In, dim Out, MlpConfig M>
struct VisualMlp;
template <dim In, dim Out, MlpConfig M>
struct SegMlp;
template <SamConfig C>
struct SamImageEncoder;
template <SamConfig C>
struct SamMaskHead;

/// LISA-7B-v1 (xinlai/LISA-7B-v1 and -explanatory): LLaVA-Lightning-7B-v1-1, CLIP ViT-L/14, SAM ViT-H.
struct Lisa7B {
  static constexpr std::string_view name = "lisa-7b";
  static constexpr LlamaConfig llm{.vocab = 32004};
  static constexpr LoraConfig lora{};
  static constexpr ClipConfig vision = clip_vit_l14;
  static constexpr SamConfig sam = sam_vit_h;
  /// The [SEG] projection, text_hidden_fcs (LISA model/LISA.py).
  static constexpr MlpConfig seg{.hidden = 4096, .layers = 2};
  /// LLaVA's mm_projector: one layer is a plain linear map, two are mlp2x_gelu.
  static constexpr MlpConfig visual_projector{.hidden = 4096, .layers = 1};

  template <class S>
  using Backbone = Llama<S::llm, S::lora>;
  template <class S>
  using VisionTower = ClipTower<S::vision>;
  template <class S>
  using VisualProjector = VisualMlp<S::vision.hidden, S::llm.hidden, S::visual_projector>;
  template <class S>
  using SegProjector = SegMlp<S::llm.hidden, S::sam.prompt_dim, S::seg>;
  template <class S>
  using ImageEncoder = SamImageEncoder<S::sam>;
  template <class S>
  using MaskDecoder = SamMaskHead<S::sam>;
  template <class S>
  using SegPolicy = PredictingHiddenState;
};

/// LISA-13B-llama2-v1 (and -explanatory): llava-llama-2-13b-chat-lightning-preview.
struct Lisa13BLlama2 : Lisa7B {
  static constexpr std::string_view name = "lisa-13b-llama2";
  static constexpr LlamaConfig llm{.vocab = 32003,
                                   .hidden = 5120,
                                   .mlp = 13824,
                                   .layers = 40,
                                   .heads = 40,
                                   .kv_heads = 40,
                                   .context = 4096,
                                   .eps = 1e-5};
  static constexpr MlpConfig seg{.hidden = 5120, .layers = 2};
  static constexpr MlpConfig visual_projector{.hidden = 5120, .layers = 1};
};

/// LISA on LLaVA-1.5-7B: CLIP at 336 px (576 visual tokens) and the mlp2x_gelu projector (Liu et al. 2023b).
struct Lisa7BLlava15 : Lisa7B {
  static constexpr std::string_view name = "lisa-7b-llava1.5";
  static constexpr LlamaConfig llm{.vocab = 32003, .context = 4096, .eps = 1e-5};
  static constexpr ClipConfig vision = clip_vit_l14_336;
  static constexpr MlpConfig visual_projector{.hidden = 4096, .layers = 2};
};

/// LISA-7B with the smaller SAM image encoders.
struct Lisa7BSamL : Lisa7B {
  static constexpr std::string_view name = "lisa-7b-sam-l";
  static constexpr SamConfig sam = sam_vit_l;
};

struct Lisa7BSamB : Lisa7B {
  static constexpr std::string_view name = "lisa-7b-sam-b";
  static constexpr SamConfig sam = sam_vit_b;
};

/// A model of 2 million parameters with every part of LISA at the size of pictures of 96 pixels; models/lisa-tiny is
/// one that was trained on the tabletop world. 1600 ids hold the words of LISA's prompts and of that world.
struct LisaTiny : Lisa7B {
  static constexpr std::string_view name = "lisa-tiny";
  static constexpr LlamaConfig llm{
      .vocab = 1600, .hidden = 128, .mlp = 344, .layers = 3, .heads = 4, .kv_heads = 4, .context = 512};
  static constexpr ClipConfig vision{
      .image = 96, .patch = 16, .hidden = 96, .mlp = 384, .layers = 3, .heads = 4, .feature_layer = -1};
  static constexpr SamConfig sam{.image = 96,
                                 .patch = 8,
                                 .hidden = 96,
                                 .mlp = 384,
                                 .layers = 3,
                                 .heads = 4,
                                 .window = 6,
                                 .global_blocks = {2},
                                 .prompt_dim = 64,
                                 .decoder_heads = 4,
                                 .decoder_mlp = 256,
                                 .iou_head_hidden = 64};
  static constexpr MlpConfig seg{.hidden = 128, .layers = 2};
  static constexpr MlpConfig visual_projector{.hidden = 128, .layers = 1};
};

/// Calls `visit.template operator()<Spec>()` for every preset.
template <class Visitor>
constexpr void for_each_preset(Visitor&& visit) {
  visit.template operator()<Lisa7B>();
  visit.template operator()<Lisa13BLlama2>();
  visit.template operator()<Lisa7BLlava15>();
  visit.template operator()<Lisa7BSamL>();
  visit.template operator()<Lisa7BSamB>();
  visit.template operator()<LisaTiny>();
}

/// Calls the visitor for the preset called `name`; false when there is none.
template <class Visitor>
constexpr bool visit_preset(std::string_view name, Visitor&& visit) {
  bool found = false;
  for_each_preset([&]<class Spec>() {
    if (Spec::name != name) return;
    found = true;
    visit.template operator()<Spec>();
  });
  return found;
}

}  // namespace lisa
