#pragma once

#include <string>

namespace lisa {

/// `text` with small letters for A to Z; other characters stay.
[[nodiscard]] inline std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

}  // namespace lisa
