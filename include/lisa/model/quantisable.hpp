#pragma once

#include <string_view>

#include "lisa/nn/parameter.hpp"
#include "lisa/quant/weight_format.hpp"

namespace lisa {

/// Whether a parameter of the language model may be held in 8 or 4 bits: the projections inside its blocks, which are
/// 96 % of LISA-7B's language model. Embeddings, norms and head stay, as do all other parts of a model: the masks hang
/// on them.
/// @param name canonical  @param shape as the configuration demands, [out, in] for a projection
[[nodiscard]] inline bool is_quantisable(std::string_view name, const Shape& shape) {
  return shape.size() == 2 && name.starts_with("model.layers.") && name.ends_with("_proj.weight");
}

/// Whether bytes of the shape `found` can stand for a parameter that is quantisable.
[[nodiscard]] inline bool fits_quantised(std::string_view name, const Shape& shape, const Shape& found) {
  return is_quantisable(name, shape) && found.size() == 2 && found[0] == shape[0] &&
         format_of(found[1], shape[1]).has_value();
}

}  // namespace lisa
