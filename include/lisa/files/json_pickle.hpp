#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "lisa/base/error.hpp"
#include "lisa/files/byte_string.hpp"
#include "lisa/files/json.hpp"

namespace lisa {

namespace detail {

/// Appends the instructions that build `value`: opcodes of Python's pickletools. Depth is that of the value, which the
/// caller made.
inline void append_pickled(const Json& value, ByteString& out) {
  switch (value.type()) {
    case Json::value_t::null:
      out.text("N");
      return;
    case Json::value_t::boolean:
      out.text(value.get<bool>() ? "\x88" : "\x89");
      return;
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned: {
      if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{INT64_MAX})
        throw InputError("pickle", found_expected(value.dump(), "a whole number of 64 bits with sign"));
      const auto number = value.get<std::int64_t>();
      if (number >= std::numeric_limits<std::int32_t>::min() && number <= std::numeric_limits<std::int32_t>::max())
        out.text("J").put(static_cast<std::int32_t>(number));
      else
        out.text("\x8a").u8(8).put(number);
      return;
    }
    case Json::value_t::string: {
      const auto& text = value.get_ref<const std::string&>();
      if (text.size() > std::numeric_limits<std::uint32_t>::max())
        throw LimitError({}, "pickle", found_expected("a string of 4 GiB or more", "a shorter one"));
      out.text("X").u32(text.size()).text(text);
      return;
    }
    case Json::value_t::array:
      out.text("](");
      for (const Json& item : value) append_pickled(item, out);
      out.text("e");
      return;
    case Json::value_t::object:
      out.text("}(");
      for (const auto& [key, item] : value.items()) {
        append_pickled(Json(key), out);
        append_pickled(item, out);
      }
      out.text("u");
      return;
    default:
      throw InputError("pickle", found_expected(std::string("a value of type ") + value.type_name(),
                                                "objects, arrays, strings, whole numbers, booleans or null"));
  }
}

}  // namespace detail

/// `value` as a Python pickle of protocol 2: objects are dicts, arrays lists. Strings are UTF-8.
/// @throws InputError for a number with a fraction
[[nodiscard]] inline std::string json_pickle(const Json& value) {
  detail::ByteString out;
  out.text("\x80\x02");
  detail::append_pickled(value, out);
  return out.text(".").str();
}

}  // namespace lisa
