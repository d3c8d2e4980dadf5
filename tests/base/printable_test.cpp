// torch-free
#include "lisa/base/printable.hpp"

#include <rapidcheck.h>

#include <cstddef>
#include <iomanip>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace {

using namespace std::string_literals;

// Unicode code points of well-formed UTF-8 (Unicode 15, table 3-7), or an empty string after the first ill-formed byte
// with `valid` set to false. Decodes by value ranges, unlike `printable`, which tests bytes.
std::u32string decode(std::string_view text, bool& valid) {
  std::u32string points;
  valid = true;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (length == 0 || i + length > text.size()) return valid = false, U"";
    char32_t point = length == 1 ? lead : lead & (0x7F >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if (next >> 6 != 2) return valid = false, U"";
      point = point << 6 | (next & 0x3F);
    }
    constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < smallest[length] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return valid = false, U"";
    points += point;
    i += length;
  }
  return points;
}

bool safe_to_print(std::string_view text) {
  bool valid = false;
  for (const char32_t point : decode(text, valid))
    if (point < 0x20 || (point >= 0x7F && point < 0xA0)) return false;
  return valid;
}

}  // namespace

TEST_CASE("printable text is always valid UTF-8 without control characters") {
  CHECK(rc::check("any bytes", [](const std::string& bytes) { RC_ASSERT(safe_to_print(lisa::printable(bytes))); }));
  CHECK(rc::check("bytes around the ends of the UTF-8 ranges", [] {
    const auto byte = rc::gen::element<int>(0x1B, '\\', 'a', 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF,
                                            0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF);
    std::string bytes;
    for (const int value : *rc::gen::container<std::vector<int>>(byte)) bytes += static_cast<char>(value);
    RC_ASSERT(safe_to_print(lisa::printable(bytes, *rc::gen::inRange<std::size_t>(0, 40))));
  }));
}

TEST_CASE("the checker of this file refuses what a terminal must not see") {
  CHECK(safe_to_print("caf\xC3\xA9"));
  for (const std::string& bad : {"\x1B[31m"s, "\x7F"s, "\xC2\x9B"s, "\xFF"s, "\xC0\xAF"s, "\xED\xA0\x80"s, "\xE2\x82"s})
    CHECK_FALSE(safe_to_print(bad));
}

TEST_CASE("well-formed text without control characters stays as it is") {
  for (const std::string_view text : {"", "plain", "caf\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xEF\xBF\xBD"})
    CHECK(lisa::printable(text) == text);
}

TEST_CASE("what cannot be shown is escaped byte by byte") {
  CHECK(lisa::printable("a\nb") == "a\\x0ab");
  CHECK(lisa::printable("\x1B[31mred") == "\\x1b[31mred");
  CHECK(lisa::printable("\x7F") == "\\x7f");
  CHECK(lisa::printable("\0x"s) == "\\x00x");
  CHECK(lisa::printable("\xC2\x9B") == "\\xc2\\x9b");                    // C1: an 8-bit escape sequence introducer
  CHECK(lisa::printable("\xC0\xAF") == "\\xc0\\xaf");                    // overlong
  CHECK(lisa::printable("\xED\xA0\x80") == "\\xed\\xa0\\x80");           // surrogate
  CHECK(lisa::printable("\xF4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  CHECK(lisa::printable("\xE2\x82") == "\\xe2\\x82");                    // cut off
}

TEST_CASE("a backslash is doubled, so that an escape cannot be imitated") {
  CHECK(lisa::printable("\\x1b") == "\\\\x1b");
}

TEST_CASE("long text is cut with its full length said") {
  CHECK(lisa::printable("abcdef", 3) == "abc... (6 bytes)");
  CHECK(lisa::printable("abc", 3) == "abc");
  CHECK(lisa::printable("a\xE2\x82\xAC"
                        "b",
                        2) == "a\xE2\x82\xAC... (5 bytes)");  // never inside a character
}

TEST_CASE("quoted adds double quotes") {
  CHECK(lisa::quoted("name") == "\"name\"");
  CHECK(lisa::quoted("a\tb") == "\"a\\x09b\"");
}

TEST_CASE("quoted is the library's own for every kind of text, beside <iomanip> too") {
  using lisa::quoted;
  std::string text = "a\n";
  const std::string constant = text;
  CHECK(quoted(text) == "\"a\\x0a\"");
  CHECK(quoted(constant) == "\"a\\x0a\"");
  CHECK(quoted(std::string("a\n")) == "\"a\\x0a\"");
  CHECK(quoted(std::string_view("a\n")) == "\"a\\x0a\"");
}
