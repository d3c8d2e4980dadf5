#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lisa {

/// `text` made safe to print: control characters, DEL and bytes that are not valid UTF-8 become `\xNN`, a backslash is
/// doubled, and at most `limit` bytes of the input are shown (then "... (N bytes)"). Names that come from files pass
/// through here before they reach a message, so that a file cannot send escape codes to a terminal.
[[nodiscard]] inline std::string printable(std::string_view text, std::size_t limit = 120) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto sequence_length = [&](std::size_t i) -> std::size_t {
    const unsigned char lead = byte(i);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : (lead & 0xF0) == 0xE0       ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    if (length == 0 || i + length > text.size()) return 0;
    for (std::size_t k = 1; k < length; ++k)
      if ((byte(i + k) & 0xC0) != 0x80) return 0;
    if (length == 3 && ((lead == 0xE0 && byte(i + 1) < 0xA0) || (lead == 0xED && byte(i + 1) > 0x9F))) return 0;
    if (length == 4 && ((lead == 0xF0 && byte(i + 1) < 0x90) || (lead == 0xF4 && byte(i + 1) > 0x8F))) return 0;
    if (length == 2 && lead == 0xC2 && byte(i + 1) < 0xA0) return 0;  // C1 control characters
    return length;
  };
  constexpr char digits[] = "0123456789abcdef";
  std::string shown;
  std::size_t i = 0;
  while (i < text.size() && i < limit) {
    const std::size_t length = sequence_length(i);
    if (length == 0 || byte(i) < 0x20 || byte(i) == 0x7F) {
      shown += {'\\', 'x', digits[byte(i) >> 4], digits[byte(i) & 15]};
      ++i;
    } else {
      if (text[i] == '\\') shown += '\\';
      shown += text.substr(i, length);
      i += length;
    }
  }
  if (i < text.size()) shown += "... (" + std::to_string(text.size()) + " bytes)";
  return shown;
}

/// `printable(text)` in double quotes, for values inside a message.
[[nodiscard]] inline std::string quoted(std::string_view text, std::size_t limit = 120) {
  return '"' + printable(text, limit) + '"';
}

// Overloads that fit exactly: without them a call with a string would choose std::quoted, by argument-dependent lookup,
// wherever <iomanip> has been included.
[[nodiscard]] inline std::string quoted(const std::string& text, std::size_t limit = 120) {
  return quoted(std::string_view(text), limit);
}
[[nodiscard]] inline std::string quoted(std::string& text, std::size_t limit = 120) {
  return quoted(std::string_view(text), limit);
}
[[nodiscard]] inline std::string quoted(const char* text, std::size_t limit = 120) {
  return quoted(std::string_view(text), limit);
}

}  // namespace lisa
