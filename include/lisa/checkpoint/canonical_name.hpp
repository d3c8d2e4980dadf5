#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lisa {

/// A tensor's name without what PEFT wraps around it: `base_model.model.X.base_layer.weight` and
/// `X.lora_A.default.weight` become `X.weight` and `X.lora_A.weight`.
[[nodiscard]] inline std::string canonical_name(std::string name) {
  constexpr std::string_view wrapper = "base_model.model.";
  if (name.starts_with(wrapper)) name.erase(0, wrapper.size());
  for (const std::string_view infix : {".base_layer.", ".default."}) {
    const std::size_t at = name.find(infix);
    if (at != std::string::npos) name.replace(at, infix.size(), ".");
  }
  return name;
}

}  // namespace lisa
