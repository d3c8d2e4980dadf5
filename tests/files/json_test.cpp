// torch-free
#include "lisa/files/json.hpp"

#include <rapidcheck.h>

#include <string>
#include <vector>

#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

using lisa::ErrorKind;
using lisa::Json;
using lisa::parse_json;

TEST_CASE("JSON that is broken or ambiguous is refused with the place") {
  struct Row {
    std::string id, text;
    std::vector<std::string> words;
    ErrorKind kind = ErrorKind::format;
  };
  for (const Row& row : std::vector<Row>{
           {"empty", "", {"line 1"}},
           {"blank", "  \n", {"line 2"}},
           {"rest", "{}x", {"line 1, byte 3"}},
           {"two values", "{}{}", {"line 1, byte 3"}},
           {"line", "{\n\"a\": 1,\n}", {"line 3, byte 11"}},
           {"key twice", R"({"a":1,"a":1})", {"\"a\"", "twice"}},
           {"key twice inside", R"({"x":{"y":[{"a":1,"a":2}]}})", {"\"x.y.a\"", "twice"}},
           {"NaN", R"({"a":NaN})", {"byte 6"}},
           {"Infinity", R"([Infinity])", {"byte 2"}},
           {"-Infinity", R"([-Infinity])", {"line 1"}},
           {"too large a number", R"([1e400])", {"1e400"}},
           {"byte order mark", "\xEF\xBB\xBF{}", {"byte order mark"}},
           {"UTF-16", std::string("{\0}\0", 4), {"UTF-16"}},
           {"UTF-16 with mark", "\xFF\xFE{", {"UTF-16"}},
           {"no UTF-8", "[\"\xC0\x80\"]", {"line 1", "UTF-8"}},
           {"half a surrogate", R"(["\ud800"])", {"line 1"}},
           {"control character", "[\"\x1b[31m\"]", {"line 1"}},
           {"comment", "{} // x", {"line 1"}},
           {"trailing comma", "[1,]", {"byte 4"}},
           {"single quotes", "{'a':1}", {"byte 2"}},
           {"deep", std::string(100'000, '['), {"deeper than 64"}, ErrorKind::limit},
           {"deep objects",
            [] {
              std::string s;
              for (int i = 0; i < 100; ++i) s += "{\"a\":";
              return s;
            }(),
            {"deeper than 64"},
            ErrorKind::limit},
           {"a million digits", "[" + std::string(1'000'000, '1') + "]", {"1111"}},
           {"very many values",
            [] {
              std::string s = "[";
              for (int i = 0; i < 500'000; ++i) s += "0,";
              return s + "0]";
            }(),
            {"more than 400000"},
            ErrorKind::limit},
       })
    CHECK(lisa::test::broken_promises({.row = row.id,
                                       .kind = row.kind,
                                       .file = "config.json",
                                       .words = row.words,
                                       .input_bytes = row.text.size()},
                                      [&] { static_cast<void>(parse_json(row.text, "config.json")); }) == "");
}

TEST_CASE("legal JSON is read, keys in the order of the file, with any line ends") {
  const Json value =
      parse_json("{\r\n\"b\": [1, -2, 2.5, true, null, \"\\u00e9\"],\r\n\"a\": {\"b\": {}}\r\n}\r\n", "f");
  CHECK(value.dump() == "{\"b\":[1,-2,2.5,true,null,\"\xC3\xA9\"],\"a\":{\"b\":{}}}");
  CHECK(parse_json("7", "f").get<int>() == 7);
  std::string deep = std::string(64, '[') + std::string(64, ']');
  CHECK(parse_json(deep, "f").dump() == deep);
}

TEST_CASE("a file beyond the size limit is refused before it is read") {
  const lisa::test::TempDir folder;
  lisa::test::write_text(folder / "big.json", "");
  std::filesystem::resize_file(folder / "big.json", 1'000'000'000);
  CHECK(lisa::test::broken_promises(
            {.row = "size", .kind = ErrorKind::limit, .file = "big.json", .words = {"1000000000 bytes", "at most"}},
            [&] { static_cast<void>(lisa::read_json(folder / "big.json")); }) == "");
}

TEST_CASE("what nlohmann writes is read back equal") {
  CHECK(rc::check([](const std::vector<std::pair<std::uint16_t, double>>& numbers, const std::vector<bool>& flags) {
    Json value = Json::object();
    for (const auto& [key, number] : numbers) value["k" + std::to_string(key)] = Json::array({number, key});
    value["flags"] = flags;
    RC_ASSERT(parse_json(value.dump(), "f") == value);
    RC_ASSERT(parse_json(value.dump(2), "f") == value);
  }));
}
