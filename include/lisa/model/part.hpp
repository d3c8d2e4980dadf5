#pragma once

#include <string_view>

namespace lisa {

/// The parts of a model, by the names used in messages, in `lisa info` and for dtypes.
enum class Part { llm, vision_tower, visual_projector, seg_projector, image_encoder, mask_decoder };

[[nodiscard]] constexpr std::string_view to_string(Part part) {
  switch (part) {
    case Part::llm:
      return "llm";
    case Part::vision_tower:
      return "vision_tower";
    case Part::visual_projector:
      return "visual_projector";
    case Part::seg_projector:
      return "seg_projector";
    case Part::image_encoder:
      return "image_encoder";
    case Part::mask_decoder:
      return "mask_decoder";
  }
  return "";
}

}  // namespace lisa
