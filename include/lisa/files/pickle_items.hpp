#pragma once

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "lisa/base/append_utf8.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/files/pickle_machine.hpp"

namespace lisa {

namespace detail {

/// Bounds far beyond the largest annotation files, such as RefCOCO's of about 40 MB.
inline constexpr PickleRules plain_pickle_rules{.place = "",
                                                .writer = "a pickle of plain values",
                                                .instructions = 200'000'000,
                                                .stack = 20'000'000,
                                                .compounds = 20'000'000,
                                                .memo = 20'000'000};

/// The instructions of all pickle protocols, 0 to 5, for plain values: those that write numbers and strings as text, as
/// Python 2 did, and those that came later. Names of modules are refused: no class, no function, no array.
class PlainDialect {
 public:
  using Machine = PickleMachine<PlainDialect>;

  bool execute(std::uint8_t code, Machine& machine) {
    switch (code) {
      case 0x80:
        protocol(machine);
        return true;
      case 0x95:  // length of a frame, which nothing needs
        static_cast<void>(machine.take<std::uint64_t>());
        return true;
      case 'l':
        machine.push_compound(PickleKind::list, machine.pop_to_mark());
        return true;
      case 'd': {
        const std::vector<PickleValue> items = machine.pop_to_mark();
        machine.push_compound(PickleKind::dict, {});
        machine.set_items(items);
        return true;
      }
      case '0':
        static_cast<void>(machine.pop());
        return true;
      case 'p':
        machine.memoize(key(machine));
        return true;
      case 'g':
        machine.recall(key(machine));
        return true;
      case 0x94:
        machine.memoize(static_cast<std::uint32_t>(machine.remembered()));
        return true;
      default:
        return literal(code, machine);
    }
  }

 private:
  static constexpr std::size_t longest_line = std::size_t{1} << 20;

  static bool literal(std::uint8_t code, Machine& machine) {
    switch (code) {
      case 'I':
        integer(machine, machine.take_line("a number"));
        return true;
      case 'L': {
        std::string_view digits = machine.take_line("a number");
        if (digits.ends_with('L')) digits.remove_suffix(1);
        integer(machine, digits);
        return true;
      }
      case 'F':
        real(machine);
        return true;
      case 'S':
        quoted_text(machine);
        return true;
      case 'V':
        unicode_text(machine);
        return true;
      case 'U':
      case 0x8c:
        machine.string(machine.take<std::uint8_t>());
        return true;
      case 'T':
        machine.string(machine.take<std::uint32_t>());
        return true;
      case 0x8d:
        machine.string(machine.take<std::uint64_t>());
        return true;
      case 'c':
      case 0x93:
        machine.refuse("a reference to a name of a module", "plain values alone; nothing was executed");
      default:
        return false;
    }
  }

  static void protocol(Machine& machine) {
    const int version = machine.take<std::uint8_t>();
    if (!machine.at_start() || version > 5)
      machine.refuse("pickle protocol " + std::to_string(version), "protocol 0 to 5, stated once");
  }

  [[nodiscard]] static std::uint32_t key(Machine& machine) {
    const std::string_view digits = machine.take_line("a number");
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size())
      machine.refuse(quoted(digits) + " as a place to remember", "a number below 2^32");
    return value;
  }

  static void integer(Machine& machine, std::string_view digits) {
    if (digits == "00" || digits == "01")
      return machine.push({.kind = PickleKind::boolean, .integer = digits[1] == '1'});
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size())
      machine.refuse(quoted(digits) + " as an integer", "one of 64 bits");
    machine.push({.kind = PickleKind::integer, .integer = value});
  }

  static void real(Machine& machine) {
    const std::string_view digits = machine.take_line("a number");
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size())
      machine.refuse(quoted(digits) + " as a float", "a number");
    machine.push({.kind = PickleKind::real, .integer = std::bit_cast<std::int64_t>(value)});
  }

  /// The number of `digits` hexadecimal digits at the start of `text`, which are taken away.
  [[nodiscard]] static std::uint32_t hexadecimal(Machine& machine, std::string_view& text, std::size_t digits) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + std::min(digits, text.size()), value, 16);
    if (text.size() < digits || error != std::errc{} || end != text.data() + digits)
      machine.refuse("an escape that does not end", std::to_string(digits) + " hexadecimal digits");
    text.remove_prefix(digits);
    return value;
  }

  /// A string as Python 2's repr writes it, in quotes and with escapes.
  static void quoted_text(Machine& machine) {
    std::string_view line = machine.take_line("a string", longest_line);
    if (line.size() < 2 || line.front() != line.back() || (line.front() != '\'' && line.front() != '"'))
      machine.refuse("a string without quotes", "one in quotes");
    line = line.substr(1, line.size() - 2);
    std::string text;
    while (!line.empty()) {
      const char c = line.front();
      line.remove_prefix(1);
      if (c != '\\') {
        text += c;
        continue;
      }
      if (line.empty()) machine.refuse("an escape that does not end", "a character");
      const char escaped = line.front();
      line.remove_prefix(1);
      constexpr std::string_view codes = "abfnrtv\\'\"", values = "\a\b\f\n\r\t\v\\'\"";
      if (const std::size_t at = codes.find(escaped); at != std::string_view::npos)
        text += values[at];
      else if (escaped == 'x')
        text += static_cast<char>(hexadecimal(machine, line, 2));
      else
        machine.refuse("escape " + quoted(std::string_view(&escaped, 1)), "one that repr writes");
    }
    machine.push_text(std::move(text));
  }

  /// A string in Python's raw-unicode-escape: Latin-1 with \uXXXX and \UXXXXXXXX.
  static void unicode_text(Machine& machine) {
    std::string_view line = machine.take_line("a string", longest_line);
    std::string text;
    while (!line.empty()) {
      const auto byte = static_cast<unsigned char>(line.front());
      line.remove_prefix(1);
      const bool escape = byte == '\\' && !line.empty() && (line.front() == 'u' || line.front() == 'U');
      std::uint32_t code = byte;
      if (escape) {
        const std::size_t digits = line.front() == 'u' ? 4 : 8;
        line.remove_prefix(1);
        code = hexadecimal(machine, line, digits);
      }
      if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) machine.refuse("half a character", "a whole one");
      append_utf8(text, code);
    }
    machine.push_text(std::move(text));
  }
};

/// Turns a pickled value into JSON: tuples become arrays, None null. Shared values are copied where they stand, so
/// their number is bounded; a value that contains itself meets the bound on depth.
class PickleJson {
 public:
  PickleJson(const PlainDialect::Machine& machine, const std::string& file, const JsonLimits& limits)
      : machine_(machine), file_(file), limits_(limits) {}

  [[nodiscard]] Json convert(const PickleValue& value, const std::string& place) {
    place_ = place;
    values_ = 0;
    return convert(value, std::size_t{0});
  }

 private:
  [[nodiscard]] Json convert(const PickleValue& value, std::size_t depth) {
    if (depth > limits_.depth)
      throw LimitError(file_, place_,
                       found_expected("values nested deeper than " + std::to_string(limits_.depth), "fewer levels"));
    if (++values_ > limits_.values)
      throw LimitError(file_, place_,
                       found_expected("more than " + std::to_string(limits_.values) + " values", "fewer"));
    switch (value.kind) {
      case PickleKind::none:
        return nullptr;
      case PickleKind::boolean:
        return value.integer != 0;
      case PickleKind::integer:
        return value.integer;
      case PickleKind::real:
        return std::bit_cast<double>(value.integer);
      case PickleKind::string:
        return std::string(machine_.text(value));
      case PickleKind::tuple:
      case PickleKind::list: {
        Json array = Json::array();
        for (const PickleValue& item : machine_.items(value)) array.push_back(convert(item, depth + 1));
        return array;
      }
      case PickleKind::dict:
        return object(machine_.items(value), depth);
      default:
        throw FormatError(file_, place_, found_expected(kind_name(value.kind), "a plain value"));
    }
  }

  [[nodiscard]] Json object(const std::vector<PickleValue>& items, std::size_t depth) {
    Json result = Json::object();
    for (std::size_t i = 0; i < items.size(); i += 2) {
      if (items[i].kind != PickleKind::string)
        throw FormatError(file_, place_,
                          found_expected(std::string(kind_name(items[i].kind)) + " as a key", "a string"));
      std::string key(machine_.text(items[i]));
      if (result.contains(key))
        throw FormatError(file_, place_ + " key " + quoted(key), found_expected("the key twice", "once"));
      result[key] = convert(items[i + 1], depth + 1);
    }
    return result;
  }

  const PlainDialect::Machine& machine_;
  const std::string& file_;
  JsonLimits limits_;
  std::string place_;
  std::size_t values_ = 0;
};

}  // namespace detail

/// Largest pickle of plain values that is read, in bytes.
inline constexpr std::uint64_t max_plain_pickle = std::uint64_t{1} << 30;

/// Reads a Python pickle that is a list of plain values (numbers, strings, lists, tuples, dicts, None), of any
/// protocol, and calls `item` with each as JSON, as `read_json_items` does for JSON. Nothing in the file is executed; a
/// name of a module is refused.
/// @throws FormatError, LimitError, IoError, and what `item` throws
inline void read_pickle_items(const std::filesystem::path& path,
                              const std::function<void(std::size_t index, Json&& value)>& item) {
  const MappedFile file(path);
  if (file.size() > max_plain_pickle)
    throw LimitError(file.name(), "",
                     found_expected(std::to_string(file.size()) + " bytes of pickle",
                                    "at most " + std::to_string(max_plain_pickle)));
  detail::PlainDialect dialect;
  detail::PlainDialect::Machine machine(file.text(), file.name(), detail::plain_pickle_rules, dialect);
  const detail::PickleValue root = machine.run();
  if (root.kind != detail::PickleKind::list && root.kind != detail::PickleKind::tuple)
    throw FormatError(file.name(), "", found_expected(detail::kind_name(root.kind), "a list"));
  detail::PickleJson json(machine, file.name(), {});
  for (std::size_t i = 0; i < machine.items(root).size(); ++i)
    item(i, json.convert(machine.items(root)[i], "item " + std::to_string(i)));
  file.require_intact();
}

}  // namespace lisa
