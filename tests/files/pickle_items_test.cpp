// torch-free
#include "lisa/files/pickle_items.hpp"

#include <string>
#include <vector>

#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

Json items_of(const std::string& pickle) {
  const test::TempDir folder;
  test::write_text(folder / "refs.p", pickle);
  Json all = Json::array();
  read_pickle_items(folder / "refs.p", [&](std::size_t index, Json&& item) {
    CHECK(index == all.size());
    all.push_back(std::move(item));
  });
  return all;
}

std::string bytes(std::initializer_list<int> codes) {
  std::string text;
  for (const int code : codes) text += static_cast<char>(code);
  return text;
}

}  // namespace

TEST_CASE("plain values of every protocol become JSON") {
  // What Python 2's cPickle wrote, protocol 0: text.
  CHECK(
      items_of("(lp1\n(dp2\nS'sent_ids'\np3\n(lp4\nI0\naI-1\nasS'file_name'\np5\nS'COCO_1.jpg'\np6\nsS'area'\nF2.5\nsS"
               "'big'\nL9007199254740993L\nsS'crowd'\nI00\nsS\"it's\"\nVcaf\\u00e9\np7\nsS'e\\\\\\n\\x41'\nNs"
               "S't'\n(I1\ng7\ntsa.") ==
      Json::parse(R"([{"sent_ids": [0, -1], "file_name": "COCO_1.jpg", "area": 2.5, "big": 9007199254740993,
                         "crowd": false, "it's": "café", "e\\\nA": null, "t": [1, "café"]}])"));
  // Protocol 2: {'a': [1, 300, 70000, -5], 'b': (True, False), 'c': 1.5, 'd': 2**40}
  CHECK(items_of(bytes({0x80, 2}) + "]q" + bytes({0}) + "}q" + bytes({1}) + "(X" + bytes({1, 0, 0, 0}) + "a](K" +
                 bytes({1}) + "M" + bytes({44, 1}) + "J" + bytes({0x70, 0x11, 1, 0}) + "J" +
                 bytes({0xFB, 0xFF, 0xFF, 0xFF}) + "eU" + bytes({1}) + "b" + bytes({0x88, 0x89, 0x86}) + "U" +
                 bytes({1}) + "cG" + bytes({0x3F, 0xF8, 0, 0, 0, 0, 0, 0}) + "U" + bytes({1}) + "d" +
                 bytes({0x8a, 6, 0, 0, 0, 0, 0, 1}) + "ua.") ==
        Json::parse(R"([{"a": [1, 300, 70000, -5], "b": [true, false], "c": 1.5, "d": 1099511627776}])"));
  // Protocol 4: frames, short strings, remembered by order: ['ab', 'ab']
  CHECK(items_of(bytes({0x80, 4, 0x95, 11, 0, 0, 0, 0, 0, 0, 0}) + "]" + bytes({0x94}) + "(" + bytes({0x8c, 2}) + "ab" +
                 bytes({0x94}) + "h" + bytes({1}) + "e.") == Json::parse(R"(["ab", "ab"])"));
}

TEST_CASE("pickles that are more than plain values are refused, and none of them runs") {
  struct Row {
    std::string id, content;
    std::vector<std::string> words;
  };
  std::string nested = "(l";
  for (int i = 0; i < 200; ++i) nested += "(l";
  nested += std::string(200, 'a') + ".";
  std::string shared = "(lp0\n";  // every level holds the one before twice
  for (int i = 1; i < 40; ++i)
    shared += "(lp" + std::to_string(i) + "\ng" + std::to_string(i - 1) + "\nag" + std::to_string(i - 1) + "\na";
  shared += "(lg39\na.";
  const std::vector<Row> rows{
      {"65", "cos\nsystem\n(S'touch owned'\ntR.", {"byte 0", "nothing was executed"}},
      {"65", bytes({0x80, 4, 0x93}) + ".", {"nothing was executed"}},
      {"65", "(lS'a'\nR.", {"0x52"}},
      {"empty", "", {"the end of the pickle"}},
      {"short", "(l", {"the end of the pickle"}},
      {"cut", "(lS'abc", {"a string without an end"}},
      {"quotes", "(lSabc\na.", {"without quotes"}},
      {"escape", "(lS'\\q'\na.", {"escape"}},
      {"escape", "(lS'\\x1'\na.", {"hexadecimal"}},
      {"surrogate", "(lV\\ud800\na.", {"half a character"}},
      {"number", "(lI12x\na.", {"12x"}},
      {"number", "(lL99999999999999999999L\na.", {"64 bits"}},
      {"float", "(lFnothing\na.", {"nothing"}},
      {"length", "(lT" + bytes({0xFF, 0xFF, 0xFF, 0x7F}) + "a.", {"that are left"}},
      {"length", "(l" + bytes({0x8d, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}) + "a.", {"that are left"}},
      {"protocol", bytes({0x80, 9}) + "(l.", {"protocol 9"}},
      {"root", "(dp0\n.", {"a dict", "a list"}},
      {"key", "(l(dI1\nI2\nsa.", {"item 0", "an integer as a key"}},
      {"twice", "(l(dS'a'\nI2\nsS'a'\nI3\nsa.", {"item 0", "\"a\"", "twice"}},
      {"pair", "(l(S'a'\nda.", {"pairs"}},
      {"recall", "(lg7\na.", {"value 7"}},
      {"mark", "(.", {"a mark"}},
      {"after", "(l.x", {"1 bytes after the end"}},
      {"itself", "(lp0\ng0\na.", {"contains itself"}},
      {"itself", "(lp0\n(lg0\naa.", {"deeper"}},
      {"deep", nested, {"deeper"}},
      {"shared", shared, {"values"}},
  };
  const test::TempDir folder;
  for (const Row& row : rows) {
    test::write_text(folder / "refs.p", row.content);
    CHECK(test::broken_promises({.row = row.id + " " + row.content.substr(0, 40),
                                 .file = "refs.p",
                                 .words = row.words,
                                 .unchanged = folder.path()},
                                [&] { read_pickle_items(folder / "refs.p", [](std::size_t, Json&&) {}); }) == "");
  }
}

TEST_CASE("no cut and no flipped byte does more than be refused") {
  const std::string good = "(lp1\n(dp2\nS'a'\np3\n(lp4\nI0\naI-1\nasS'b'\nVcaf\\u00e9\nsa" + bytes({0x8c, 2}) + "xya.";
  const test::TempDir folder;
  const auto read = [&](const std::string& content) {
    test::write_text(folder / "refs.p", content);
    try {
      read_pickle_items(folder / "refs.p", [](std::size_t, Json&&) {});
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find("refs.p") != std::string::npos);
      return false;
    }
    return true;
  };
  CHECK(read(good));
  for (std::size_t cut = 0; cut < good.size(); ++cut) CHECK_FALSE(read(good.substr(0, cut)));
  for (std::size_t i = 0; i < good.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = good;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      static_cast<void>(read(changed));  // must end, with or without an error
    }
}
