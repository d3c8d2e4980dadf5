#pragma once

#include <ATen/core/Tensor.h>

#include "lisa/config/dim.hpp"

namespace lisa {

/// Images on their way through an image encoder that works in steps.
struct Encoding {
  at::Tensor tokens{};    ///< between steps [B, g, g, hidden], at the end the embeddings [B, C, g, g]
  dim steps = 0;          ///< how many have been taken
  bool complete = false;  ///< whether `tokens` are the embeddings

  [[nodiscard]] bool begun() const { return tokens.defined(); }
};

}  // namespace lisa
