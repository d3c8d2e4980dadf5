#pragma once

#include "lisa/config/dim.hpp"

namespace lisa {

/// Shape of a small perceptron between two given widths. `layers == 1` is a single linear layer (`hidden` unused).
struct MlpConfig {
  dim hidden = 4096;
  dim layers = 2;
  bool operator==(const MlpConfig&) const = default;
};

template <class Config, class Visitor>
  requires SameConfig<Config, MlpConfig>
constexpr void fields(Config& c, Visitor&& visit) {
  visit("hidden", c.hidden);
  visit("layers", c.layers);
}

constexpr dim parameters(dim in, dim out, const MlpConfig& c) {
  if (c.layers == 1) return in * out + out;
  return in * c.hidden + c.hidden + (c.layers - 2) * (c.hidden * c.hidden + c.hidden) + c.hidden * out + out;
}

}  // namespace lisa
