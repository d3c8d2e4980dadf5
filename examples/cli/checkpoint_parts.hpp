#pragma once

#include <string_view>

#include "lisa/model/part.hpp"

namespace lisa::program {

/// The part that a tensor belongs to, by its name in a LISA checkpoint, a LLaVA checkpoint or a CLIP folder.
/// @param name without PEFT's wrapping (`canonical_name`)
[[nodiscard]] constexpr Part part_of(std::string_view name) {
  if (name.starts_with("model.visual_model.image_encoder.")) return Part::image_encoder;
  if (name.starts_with("model.visual_model.")) return Part::mask_decoder;
  if (name.starts_with("model.text_hidden_fcs.")) return Part::seg_projector;
  if (name.starts_with("model.mm_projector.")) return Part::visual_projector;
  if (name.starts_with("model.vision_tower.") || name.starts_with("vision_model.")) return Part::vision_tower;
  return Part::llm;
}

}  // namespace lisa::program
