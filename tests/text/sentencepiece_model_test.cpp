// torch-free
#include "lisa/text/sentencepiece_model.hpp"

#include <rapidcheck.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

using namespace lisa;
using lisa::test::broken_promises;

namespace {

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7F) | 0x80);
  return bytes + static_cast<char>(value);
}
std::string key(std::uint64_t number, int wire) { return varint(number << 3 | static_cast<std::uint64_t>(wire)); }
std::string block(std::uint64_t number, const std::string& content) {
  return key(number, 2) + varint(content.size()) + content;
}
std::string flag(std::uint64_t number, std::uint64_t value) { return key(number, 0) + varint(value); }

std::string piece(const std::string& text, float score, int type = 1) {
  const auto bits = std::bit_cast<std::uint32_t>(score);
  std::string content = block(1, text) + key(2, 5);
  for (int i = 0; i < 4; ++i) content += static_cast<char>(bits >> (8 * i));
  return block(1, content + flag(3, static_cast<std::uint64_t>(type)));
}

const std::string bpe = block(2, flag(3, 2));
const std::string identity = block(3, flag(3, 1) + flag(4, 0));
const std::string unknown = piece("<unk>", 0, 2);
/// Merges "ab" before "bc", and "abc" after both.
const std::string letters = unknown + piece("a", -4) + piece("b", -5) + piece("c", -6) + piece("ab", -1) +
                            piece("bc", -2) + piece("abc", -3) + piece("\xE2\x96\x81", -7);

SentencePieceModel parse(const std::string& content) { return SentencePieceModel::parse(content, "tokenizer.model"); }

}  // namespace

TEST_CASE("pairs are merged best score first, leftmost first among equals") {
  const SentencePieceModel model = parse(letters + bpe + identity);
  CHECK(model.size() == 8);
  CHECK(model.encode("").empty());
  CHECK(model.encode("abc") == std::vector<std::int64_t>{7, 6});
  CHECK(model.encode("bcab") == std::vector<std::int64_t>{7, 5, 4});
  CHECK(model.encode("aab") == std::vector<std::int64_t>{7, 1, 4});
  const SentencePieceModel equal =
      parse(unknown + piece("x", -1) + piece("xx", -1) + piece("\xE2\x96\x81", -2) + bpe + identity);
  CHECK(equal.encode("xxx") == std::vector<std::int64_t>{3, 2, 1});
}

TEST_CASE("without byte pieces a run of unknown characters is one <unk>") {
  const SentencePieceModel model = parse(letters + bpe + identity);
  CHECK(model.encode("a\xC3\xA9\xC3\xA8z b") == std::vector<std::int64_t>{7, 1, 0, 7, 2});
}

TEST_CASE("a piece may hold a NUL") {
  const SentencePieceModel model = parse(letters + piece(std::string("\0", 1), -8) + bpe + identity);
  CHECK(model.encode(std::string("a\0", 2)) == std::vector<std::int64_t>{7, 1, 8});
}

TEST_CASE("rows 89 to 93: broken or foreign tokenizer.model") {
  const auto row = [](std::string name, ErrorKind kind, std::vector<std::string> words) {
    return test::BadInput{.row = std::move(name), .kind = kind, .file = "tokenizer.model", .words = std::move(words)};
  };
  constexpr auto format = ErrorKind::format, mismatch = ErrorKind::mismatch;
  std::string all_but_one_byte;
  for (int b = 0; b < 255; ++b) {
    constexpr char digits[] = "0123456789ABCDEF";
    all_but_one_byte += piece(std::string("<0x") + digits[b >> 4] + digits[b & 15] + ">", 0, 6);
  }
  const std::string byte_bpe = block(2, flag(3, 2) + flag(35, 1));
  const std::string map("\x07\x00\x00\x00\xFF\xFF\xFF\x7F", 8);
  const auto table = std::vector<std::pair<test::BadInput, std::string>>{
      {row("89 truncated", format, {"length"}), letters.substr(0, 20)},
      {row("89 cut varint", format, {"varint", "byte"}), letters + "\x12\x80"},
      {row("89 varint of 11 bytes", format, {"64 bits"}), letters + "\x10" + std::string(10, '\xFF') + "\x01"},
      {row("89 varint beyond 64 bits", format, {"64 bits"}), letters + "\x10" + std::string(9, '\xFF') + "\x02"},
      {row("89 length", format, {"a length of 1099511627776"}), letters + key(9, 2) + varint(1ULL << 40)},
      {row("89 length 2^64-1", format, {"length"}), letters + key(9, 2) + varint(~0ULL)},
      {row("89 group", format, {"wire type 3"}), letters + key(9, 3)},
      {row("89 group end", format, {"wire type 4"}), letters + key(9, 4)},
      {row("89 wire type 7", format, {"wire type 7"}), letters + key(9, 7)},
      {row("89 field 0", format, {"field number 0"}), letters + std::string("\x02\x00", 2)},
      {row("89 field 2^29", format, {"field number"}), letters + key(1U << 29, 0) + "\x01"},
      {row("89 wrong wire type", format, {"field 1", "wire type 0"}), flag(1, 5)},
      {row("89 empty file", mismatch, {"UNIGRAM", "BPE"}), ""},
      {row("90 no piece", format, {"0 pieces"}), bpe + identity},
      {row("90 duplicate", format, {"repeats", "\"ab\""}), letters + piece("ab", -9) + bpe + identity},
      {row("90 empty piece", format, {"piece 8", "empty"}), letters + piece("", -9) + bpe + identity},
      {row("90 long piece", format, {"piece 8", "200000 bytes"}),
       letters + piece(std::string(200000, 'x'), -9) + bpe + identity},
      {row("91 no unk", format, {"UNKNOWN"}), piece("a", -1) + bpe + identity},
      {row("91 two unk", format, {"second"}), letters + piece("<unk2>", 0, 2) + bpe + identity},
      {row("91 missing byte", format, {"byte 255"}), letters + all_but_one_byte + byte_bpe + identity},
      {row("91 bad byte", format, {"<0xZZ>"}), letters + piece("<0xZZ>", 0, 6) + bpe + identity},
      {row("91 NaN", format, {"piece 8", "nan", "finite"}),
       letters + piece("x", std::numeric_limits<float>::quiet_NaN()) + bpe + identity},
      {row("91 infinite", format, {"piece 8", "finite"}), letters + piece("x", INFINITY) + bpe + identity},
      {row("91 type", format, {"piece 8", "type 9"}), letters + piece("x", -9, 9) + bpe + identity},
      {row("91 user defined", mismatch, {"USER_DEFINED"}), letters + piece("x", -9, 4) + bpe + identity},
      {row("91 unused", mismatch, {"UNUSED"}), letters + piece("x", -9, 5) + bpe + identity},
      {row("92 trie", mismatch, {"precompiled_charsmap", "8 bytes"}),
       letters + bpe + block(3, block(2, map) + flag(4, 0))},
      {row("92 odd size", mismatch, {"precompiled_charsmap", "7 bytes"}),
       letters + bpe + block(3, block(2, map.substr(1)) + flag(4, 0))},
      {row("92 denormalizer", mismatch, {"denormalizer_spec"}), letters + bpe + identity + block(5, block(2, map))},
      {row("92 extra blanks", mismatch, {"remove_extra_whitespaces"}), letters + bpe + block(3, flag(3, 1))},
      {row("92 no escape", mismatch, {"escape_whitespaces"}), letters + bpe + block(3, flag(4, 0) + flag(5, 0))},
      {row("92 suffix", mismatch, {"treat_whitespace_as_suffix"}),
       letters + block(2, flag(3, 2) + flag(24, 1)) + identity},
      {row("93 unigram", mismatch, {"UNIGRAM", "BPE"}), letters + block(2, flag(3, 1)) + identity},
      {row("93 word", mismatch, {"WORD", "BPE"}), letters + block(2, flag(3, 3)) + identity},
      {row("93 unknown type", format, {"model_type", "77"}), letters + block(2, flag(3, 77)) + identity},
  };
  for (auto [expected, content] : table) {
    expected.input_bytes = content.size();
    CHECK(broken_promises(expected, [&content = content] { (void)parse(content); }) == "");
  }
}

TEST_CASE("damaged files are refused or read, never anything else") {
  const std::string good = test::read_text(LISA_TEST_DATA "/golden/model_a/tokenizer.model");
  CHECK_NOTHROW((void)parse(good));
  CHECK(rc::check("any change of some bytes and any cut", [&] {
    std::string bad = good;
    for (int i = 0; i < 3; ++i) bad[*rc::gen::inRange<std::size_t>(0, bad.size())] = *rc::gen::arbitrary<char>();
    bad.resize(*rc::gen::oneOf(rc::gen::just(bad.size()), rc::gen::inRange<std::size_t>(0, bad.size())));
    try {
      const SentencePieceModel model = parse(bad);
      (void)model.encode("Please segment the dog.");
    } catch (const Error& error) {
      RC_ASSERT(error.file() == "tokenizer.model");
    }
  }));
}
