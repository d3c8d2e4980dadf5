// torch-free
#include "lisa/files/json_pickle.hpp"

#include <cstdint>
#include <string>

#include "lisa/base/error.hpp"

#include <doctest/doctest.h>

using namespace lisa;

// The expected bytes were given to Python's pickle.loads, which makes the values beside them.
TEST_CASE("values become the instructions of a pickle of protocol 2") {
  using namespace std::string_literals;
  CHECK(json_pickle(Json::array()) == "\x80\x02](e."s);
  CHECK(json_pickle(Json::object()) == "\x80\x02}(u."s);
  CHECK(json_pickle(Json{{"a", 1}, {"b", Json::array({nullptr, true, false})}}) ==
        "\x80\x02}(X\x01\0\0\0aJ\x01\0\0\0X\x01\0\0\0b](N\x88\x89"
        "eu."s);
  CHECK(json_pickle("caf\xc3\xa9") == "\x80\x02X\x05\0\0\0caf\xc3\xa9."s);
  CHECK(json_pickle(-1) == "\x80\x02J\xff\xff\xff\xff."s);
  CHECK(json_pickle(INT32_MAX) == "\x80\x02J\xff\xff\xff\x7f."s);
  CHECK(json_pickle(std::int64_t{1} << 31) == "\x80\x02\x8a\x08\0\0\0\x80\0\0\0\0."s);
  CHECK(json_pickle(INT64_MIN) == "\x80\x02\x8a\x08\0\0\0\0\0\0\0\x80."s);
}

TEST_CASE("values that are not pickled are refused") {
  CHECK_THROWS_AS(static_cast<void>(json_pickle(0.5)), InputError);
  CHECK_THROWS_AS(static_cast<void>(json_pickle(std::uint64_t{1} << 63)), InputError);
}
