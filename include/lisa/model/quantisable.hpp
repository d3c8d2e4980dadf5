#pragma once

#include <cstddef>
#include <string_view>

#include "lisa/config/dim.hpp"
#include "lisa/nn/parameter.hpp"
#include "lisa/quant/weight_format.hpp"

namespace lisa {

/// Whether a parameter is a projection inside a block of the language model, which may be held in 8 or 4 bits: 96 % of
/// LISA-7B's language model.
/// @param name canonical
[[nodiscard]] inline bool is_llm_projection(std::string_view name) {
  return name.starts_with("model.layers.") && name.ends_with("_proj.weight");
}

/// Whether a parameter is the language model's output layer, which may be held in 8 or 4 bits where that is asked for:
/// at every token it is read as a whole. Embeddings, of which a token reads a row, and norms stay.
/// @param name canonical
[[nodiscard]] inline bool is_llm_head(std::string_view name) { return name == "lm_head.weight"; }

/// Whether a parameter is one of the four linear layers inside a block of SAM's image encoder, which may be held in 8
/// bits. Patches, positions and the neck stay, as does the mask decoder: the masks hang on them.
/// @param name canonical
[[nodiscard]] inline bool is_image_encoder_linear(std::string_view name) {
  if (!name.starts_with("model.visual_model.image_encoder.blocks.")) return false;
  for (const std::string_view layer : {".attn.qkv.weight", ".attn.proj.weight", ".mlp.lin1.weight", ".mlp.lin2.weight"})
    if (name.ends_with(layer)) return true;
  return false;
}

/// The block of SAM's image encoder that a layer belongs to. @param name as `is_image_encoder_linear` accepts it
[[nodiscard]] inline dim image_encoder_block(std::string_view name) {
  constexpr std::string_view blocks = ".blocks.";
  dim number = 0;
  for (std::size_t i = name.find(blocks) + blocks.size(); i < name.size() && name[i] >= '0' && name[i] <= '9'; ++i)
    number = number * 10 + (name[i] - '0');
  return number;
}

/// Blocks at the end of SAM's image encoder that conversions leave as they are: they make the features that the mask
/// decoder reads, with nothing behind them to even errors out.
inline constexpr dim image_encoder_kept_blocks = 2;

/// Whether a conversion to 8 bits takes a parameter of an image encoder with so many blocks.
[[nodiscard]] inline bool is_quantised_in_image_encoder(std::string_view name, dim blocks) {
  return is_image_encoder_linear(name) && image_encoder_block(name) < blocks - image_encoder_kept_blocks;
}

/// Whether bytes of the shape `found` can stand for a parameter that may be quantised.
/// @param name canonical  @param shape as the configuration demands, [out, in]
[[nodiscard]] inline bool fits_quantised(std::string_view name, const Shape& shape, const Shape& found) {
  if (shape.size() != 2 || found.size() != 2 || found[0] != shape[0]) return false;
  const auto format = format_of(found[1], shape[1]);
  return format && (is_llm_projection(name) || is_llm_head(name) ||
                    (is_image_encoder_linear(name) && *format == WeightFormat::int8_row));
}

}  // namespace lisa
