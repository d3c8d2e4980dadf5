#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lisa {

/// The parts of `text` between separators, empty ones included: "a||b" at "||" is a, b. `separator` is not empty.
[[nodiscard]] inline std::vector<std::string> split_at(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + separator.size());
  }
}

}  // namespace lisa
