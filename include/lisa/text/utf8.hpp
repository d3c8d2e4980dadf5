#pragma once

#include <cstddef>
#include <string_view>

namespace lisa {

/// One code point at the start of some text.
struct Utf8Character {
  char32_t code = 0xFFFD;  ///< U+FFFD where the bytes are not valid UTF-8
  std::size_t size = 1;    ///< bytes it takes; 1 for an invalid byte
  bool valid = false;
};

/// First character of `text`, which must not be empty. Overlong forms, surrogates and values beyond U+10FFFF are
/// invalid (Unicode 15, table 3-7).
[[nodiscard]] constexpr Utf8Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return {};
  char32_t code = lead & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3FU);
  }
  const bool overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  if (overlong || (code >= 0xD800 && code < 0xE000) || code > 0x10FFFF) return {};
  return {code, size, true};
}

/// Whether all of `text` is valid UTF-8.
[[nodiscard]] constexpr bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Character c = first_character(text);
    if (!c.valid) return false;
    text.remove_prefix(c.size);
  }
  return true;
}

/// Whether `text` is the beginning of a valid multi-byte character that more bytes could complete.
[[nodiscard]] constexpr bool unfinished_character(std::string_view text) {
  if (text.empty() || text.size() > 3) return false;
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() >= size) return false;
  for (std::size_t i = 1; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return false;
  if (text.size() == 1) return true;
  const auto second = static_cast<unsigned char>(text[1]);
  return !((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) || (lead == 0xF0 && second < 0x90) ||
           (lead == 0xF4 && second > 0x8F));
}

/// White space as Python's `str.strip` knows it (str.isspace: bidirectional type WS, B or S, or category Zs).
[[nodiscard]] constexpr bool is_python_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// `text` without leading white space (Python's `lstrip`).
[[nodiscard]] constexpr std::string_view strip_left(std::string_view text) {
  while (!text.empty()) {
    const Utf8Character c = first_character(text);
    if (!c.valid || !is_python_space(c.code)) break;
    text.remove_prefix(c.size);
  }
  return text;
}

/// `text` without trailing white space (Python's `rstrip`).
[[nodiscard]] constexpr std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    std::size_t start = text.size() - 1;
    while (start > 0 && text.size() - start < 4 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    const Utf8Character c = first_character(text.substr(start));
    if (!c.valid || start + c.size != text.size() || !is_python_space(c.code)) break;
    text.remove_suffix(c.size);
  }
  return text;
}

}  // namespace lisa
