// torch-free
#include "lisa/text/tokenizer.hpp"

#include <rapidcheck.h>

#include <cstdint>
#include <string>
#include <vector>

#include "lisa/files/json.hpp"
#include "lisa/text/tokenizer_files.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

using namespace lisa;
using lisa::test::broken_promises;

namespace {

const std::string published = LISA_TEST_DATA "/golden/model_a";

std::string from_hex(const std::string& digits) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
    bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  return bytes;
}

std::vector<std::int64_t> ids_of(const Json& list) { return list.get<std::vector<std::int64_t>>(); }

std::string streamed(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids) {
  TextStream stream(tokenizer);
  std::string text;
  for (const std::int64_t id : ids) text += stream.push(id);
  return text + stream.finish();
}

SentencePieceModel published_model() {
  return SentencePieceModel::parse(test::read_text(published + "/tokenizer.model"), "tokenizer.model");
}

Tokenizer with_added(std::vector<AddedToken> added) {
  return Tokenizer(published_model(), {.added = std::move(added)}, "folder");
}

}  // namespace

TEST_CASE("the original's token ids and texts are reproduced") {
  const Tokenizer tokenizer = load_tokenizer(published);
  const Json golden = read_json(LISA_TEST_DATA "/golden/units/tokenizer/tokenizer_model_a.json");
  CHECK(tokenizer.vocab_size() == golden["vocab"].get<std::int64_t>());
  for (const auto& [text, id] : golden["added"].items()) CHECK(tokenizer.find(text) == id.get<std::int64_t>());
  REQUIRE(golden["rows"].size() == 35);
  for (const Json& row : golden["rows"]) {
    CAPTURE(row["text"].get<std::string>());
    const std::string text = from_hex(row["utf8"].get<std::string>());
    const auto ids = ids_of(row["image_token_ids"]);
    CHECK(tokenizer.encode(text) == ids_of(row["input_ids"]));
    CHECK(tokenizer.encode_with_images(text) == ids);
    CHECK(tokenizer.decode(ids) == row["decoded"].get<std::string>());
    CHECK(tokenizer.decode(ids, true) == row["decoded_skip_special"].get<std::string>());
    CHECK(chat_text(tokenizer.decode(ids)) == row["chat_text"].get<std::string>());
  }
}

// Rows made with transformers 4.31.0 and sentencepiece 0.2.3 from random text: words, added tokens and parts of them,
// every kind of white space, composed and combining characters, right-to-left text, emoji, unassigned code points.
TEST_CASE("random text and random ids give what transformers gives, for every way to write the folder") {
  for (const char* name : {"published", "plain_special", "stripping_special", "overlapping", "not_legacy", "no_bos"}) {
    CAPTURE(name);
    const Json data = read_json(std::string(LISA_TEST_DATA "/fixtures/tokenizer/") + name + ".json");
    const test::TempDir folder;
    test::write_text(folder / "tokenizer.model", test::read_text(published + "/tokenizer.model"));
    test::write_text(folder / "added_tokens.json", data["added"].dump());
    test::write_text(folder / "special_tokens_map.json", data["special"].dump());
    test::write_text(folder / "tokenizer_config.json", data["config"].dump());
    const Tokenizer tokenizer = load_tokenizer(folder.path());
    CHECK(tokenizer.vocab_size() == data["size"].get<std::int64_t>());
    REQUIRE(data["texts"].size() >= 120);
    for (const Json& row : data["texts"]) {
      CAPTURE(row["utf8"].get<std::string>());
      const std::string text = from_hex(row["utf8"].get<std::string>());
      const auto ids = ids_of(row["image_ids"]);
      CHECK(tokenizer.encode(text) == ids_of(row["ids"]));
      CHECK(tokenizer.encode_with_images(text) == ids);
      CHECK(tokenizer.decode(ids) == row["text"].get<std::string>());
      CHECK(tokenizer.decode(ids, true) == row["plain"].get<std::string>());
    }
    REQUIRE(data["decoded"].size() == 150);
    for (const Json& row : data["decoded"]) {
      CAPTURE(row["ids"].dump());
      const auto ids = ids_of(row["ids"]);
      CHECK(tokenizer.decode(ids) == row["text"].get<std::string>());
      CHECK(tokenizer.decode(ids, true) == row["plain"].get<std::string>());
      CHECK(streamed(tokenizer, ids) == row["plain"].get<std::string>());
    }
  }
}

TEST_CASE("ids come from the folder") {
  const Tokenizer tokenizer = load_tokenizer(published);
  CHECK(tokenizer.seg() == 703);
  CHECK(tokenizer.im_start() == 701);
  CHECK(tokenizer.im_end() == 702);
  CHECK(tokenizer.bos() == 1);
  CHECK(tokenizer.eos() == 2);
  CHECK(tokenizer.unk() == 0);
  CHECK(tokenizer.pad() == 0);
  CHECK_NOTHROW(tokenizer.check_embedding_rows(704));
  const Tokenizer other = with_added({{"[SEG]", 700}, {"<im_end>", 702}, {"<im_start>", 701}});
  CHECK(other.seg() == 700);
}

TEST_CASE("added tokens of later transformers are found in tokenizer_config.json") {
  const test::TempDir folder;
  test::write_text(folder / "tokenizer.model", test::read_text(published + "/tokenizer.model"));
  test::write_text(folder / "tokenizer_config.json",
                   R"({"added_tokens_decoder": {"0": {"content": "<unk>"}, "700": {"content": "[SEG]"}}})");
  CHECK(load_tokenizer(folder.path()).seg() == 700);
}

TEST_CASE("the stream never stops inside a character and loses nothing") {
  const Tokenizer tokenizer = load_tokenizer(published);
  CHECK(rc::check("pieces are whole characters and add up to the decoded text", [&] {
    const auto ids = *rc::gen::container<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(0, 704));
    TextStream stream(tokenizer);
    std::string all;
    for (const std::int64_t id : ids) {
      const std::string piece = stream.push(id);
      for (std::string_view rest = piece; !rest.empty(); rest.remove_prefix(first_character(rest).size))
        RC_ASSERT(first_character(rest).valid);
      all += piece;
    }
    RC_ASSERT(all + stream.finish() == tokenizer.decode(ids, true));
  }));
}

TEST_CASE("ordinary text survives encoding and decoding") {
  const Tokenizer tokenizer = load_tokenizer(published);
  CHECK(rc::check("decode(encode(text)) == text", [&] {
    std::string text;
    for (const char c : *rc::gen::string<std::string>())
      if (c > 0x20 && c < 0x7F && c != '<' && c != '[') text += c;
    RC_ASSERT(tokenizer.decode(tokenizer.encode(text), true) == text);
  }));
  CHECK(rc::check("any bytes give ids of the vocabulary", [&] {
    const auto bytes = *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
    for (const std::int64_t id : tokenizer.encode(bytes)) RC_ASSERT(id >= 0 && id < tokenizer.vocab_size());
  }));
}

TEST_CASE("row 97: odd text has a defined result") {
  const Tokenizer tokenizer = load_tokenizer(published);
  CHECK(tokenizer.encode("a\xFF") == tokenizer.encode("a\xEF\xBF\xBD"));
  CHECK(tokenizer.encode("\xED\xA0\x80") == tokenizer.encode("\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"));
  CHECK(tokenizer.encode(std::string("a\0b", 3)).size() == 4);
  CHECK(tokenizer.encode("\xE2\x96\x81x") == tokenizer.encode(" x"));
  CHECK(tokenizer.encode("<0x0A>") != tokenizer.encode("\n"));
  // A megabyte without a blank: quadratic merging would take minutes here.
  std::string text(1 << 20, 'a');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i * i % 26);
  CHECK(tokenizer.decode(tokenizer.encode(text), true) == text);
}

TEST_CASE("rows 94 to 96: token ids that do not fit") {
  const auto row = [](std::string name, std::vector<std::string> words) {
    return test::BadInput{
        .row = std::move(name), .kind = ErrorKind::mismatch, .file = "folder", .words = std::move(words)};
  };
  const auto table = std::vector<std::pair<test::BadInput, std::function<void()>>>{
      {row("94", {"701", "700"}), [] { with_added({{"[SEG]", 700}}).check_embedding_rows(700); }},
      {row("95 missing", {"[SEG]", "one id"}), [] { (void)with_added({{"<im_start>", 700}}).seg(); }},
      {row("95 two ids", {"[SEG]", "two ids"}), [] { with_added({{"[SEG]", 700}, {"[SEG]", 701}}); }},
      {row("96 hole", {"[SEG]", "id 701", "700"}), [] { with_added({{"[SEG]", 701}}); }},
      {row("96 beyond", {"[SEG]", "32000"}), [] { with_added({{"[SEG]", 32000}}); }},
      {row("96 two names", {"<im_end>", "id 700", "701"}), [] { with_added({{"[SEG]", 700}, {"<im_end>", 700}}); }},
      {row("96 a piece's id", {"[SEG]", "id 5"}), [] { with_added({{"[SEG]", 5}}); }},
      {row("96 a piece's text", {"<s>", "id 700"}), [] { with_added({{"<s>", 700}}); }},
      {row("96 no text", {"without text"}), [] { with_added({{"", 700}}); }},
  };
  for (const auto& [expected, attempt] : table) CHECK(broken_promises(expected, attempt) == "");
  CHECK(with_added({{"<s>", 1}, {"[SEG]", 700}}).vocab_size() == 701);
}

TEST_CASE("rows 95 and 96: broken tokenizer files are named") {
  const test::TempDir folder;
  test::write_text(folder / "tokenizer.model", test::read_text(published + "/tokenizer.model"));
  const auto check = [&](const char* row, const char* file, const char* content, std::vector<std::string> words) {
    test::write_text(folder / file, content);
    CHECK(broken_promises({.row = row,
                           .kind = ErrorKind::format,
                           .file = file,
                           .words = std::move(words),
                           .unchanged = folder.path()},
                          [&] { (void)load_tokenizer(folder.path()); }) == "");
    std::filesystem::remove(folder / file);
  };
  check("95", "added_tokens.json", R"({"[SEG]": 700, "[SEG]": 701})", {"[SEG]", "twice"});
  check("96", "added_tokens.json", R"({"[SEG]": "700"})", {"[SEG]", "the string"});
  check("96", "added_tokens.json", R"({"[SEG]": -1, "x": 1099511627776})", {"2 defects", "[SEG]", "-1", "x"});
  check("96", "added_tokens.json", "[700]", {"an array"});
  check("96", "special_tokens_map.json", R"({"bos_token": 1})", {"bos_token"});
  check("96", "special_tokens_map.json", R"({"bos_token": {"lstrip": 3}})", {"bos_token.content", "missing"});
  check("96", "tokenizer_config.json", R"({"legacy": "no"})", {"legacy", "true or false"});
  check("96", "tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "a"}}})",
        {"added_tokens_decoder.x"});
  const test::TempDir empty;
  CHECK(broken_promises({.row = "76", .kind = ErrorKind::io, .file = "tokenizer.model"},
                        [&] { (void)load_tokenizer(empty.path()); }) == "");
}

TEST_CASE("ids outside the vocabulary are refused") {
  const Tokenizer tokenizer = load_tokenizer(published);
  CHECK(broken_promises({.row = "id", .kind = ErrorKind::input, .words = {"704", "703"}},
                        [&] { (void)tokenizer.decode(std::vector<std::int64_t>{704}); }) == "");
  CHECK(broken_promises({.row = "id", .kind = ErrorKind::input, .words = {"-1"}},
                        [&] { (void)tokenizer.decode(std::vector<std::int64_t>{-1}, true); }) == "");
}
