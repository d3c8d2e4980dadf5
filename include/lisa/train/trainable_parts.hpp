#pragma once

#include <string_view>

#include "lisa/model/part.hpp"

namespace lisa {

/// Which parts of a model train. The rest is frozen in the dtype that it is stored in. SAM's prompt encoder never
/// trains.
struct TrainableParts {
  bool lora = false;          ///< adapters of the projections that `Spec::lora` names
  bool lm_head = false;       ///< weights of the language model's output
  bool embed_tokens = false;  ///< weights of its input
  bool llm = false;           ///< all its weights, those two included, adapters not
  bool vision_tower = false;
  bool visual_projector = false;
  bool seg_projector = false;
  bool image_encoder = false;
  bool mask_decoder = false;
  bool operator==(const TrainableParts&) const = default;
};

/// The paper's fine-tuning (LISA train_ds.py).
inline constexpr TrainableParts lisa_recipe{
    .lora = true, .lm_head = true, .embed_tokens = true, .seg_projector = true, .mask_decoder = true};

/// Every weight, for small models that are trained from scratch.
inline constexpr TrainableParts everything{.llm = true,
                                           .vision_tower = true,
                                           .visual_projector = true,
                                           .seg_projector = true,
                                           .image_encoder = true,
                                           .mask_decoder = true};

/// Whether a weight of this name trains; adapters are no weights.
[[nodiscard]] inline bool trains(const TrainableParts& parts, Part part, std::string_view name) {
  switch (part) {
    case Part::llm:
      return parts.llm || (parts.lm_head && name == "lm_head.weight") ||
             (parts.embed_tokens && name == "model.embed_tokens.weight");
    case Part::vision_tower:
      return parts.vision_tower;
    case Part::visual_projector:
      return parts.visual_projector;
    case Part::seg_projector:
      return parts.seg_projector;
    case Part::image_encoder:
      return parts.image_encoder;
    case Part::mask_decoder:
      // Of the prompt encoder LISA reads a constant and a positional matrix, neither of which is learnt.
      return parts.mask_decoder && !name.starts_with("model.visual_model.prompt_encoder.");
  }
  return false;
}

}  // namespace lisa
