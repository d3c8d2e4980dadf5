#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"

namespace lisa::detail {

enum class PickleKind : std::uint8_t {
  mark,
  none,
  boolean,
  integer,
  real,
  string,
  tuple,
  list,
  dict,
  global,
  storage,
  tensor
};

[[nodiscard]] inline std::string_view kind_name(PickleKind kind) {
  constexpr std::string_view names[] = {"a mark",  "None",   "a boolean", "an integer", "a float",   "a string",
                                        "a tuple", "a list", "a dict",    "a name",     "a storage", "a tensor"};
  return names[static_cast<std::size_t>(kind)];
}

/// A pickled value, 24 bytes, trivially copyable: compound values live in the machine's tables and are referred to by
/// index, so neither copying nor destroying anything recurses.
struct PickleValue {
  PickleKind kind = PickleKind::none;
  bool decoded = false;      ///< a string that stands in the machine's table, not in the pickle
  std::uint8_t name = 0;     ///< which of the dialect's names
  std::uint8_t type = 0;     ///< element type of a storage, as the dialect numbers them
  std::uint32_t index = 0;   ///< of a compound or decoded string
  std::uint64_t begin = 0;   ///< first byte of a string in the pickle
  std::int64_t integer = 0;  ///< value of an integer or boolean; bits of a float; length of a string
};

/// What a pickle may hold and how large it may be.
struct PickleRules {
  std::string_view place;   ///< what messages call the pickle; empty when it is the whole file
  std::string_view writer;  ///< whose instructions are known, for messages
  std::size_t instructions = 0;
  std::size_t stack = 0;
  std::size_t compounds = 0;
  std::size_t memo = 0;
};

/// Reads a pickle symbolically: a stack machine for the instructions that put plain values together. Nothing is called,
/// imported or instantiated. What else a kind of pickle needs is its dialect's: `bool execute(code, machine)` carries
/// out an instruction of its own or returns false, and is asked first.
template <class Dialect>
class PickleMachine {
 public:
  PickleMachine(std::string_view pickle, const std::string& file, const PickleRules& rules, Dialect& dialect)
      : pickle_(pickle), file_(file), rules_(rules), dialect_(dialect) {}

  /// Runs up to STOP, which must be the last byte.
  [[nodiscard]] PickleValue run() {
    for (at_ = 0; !stopped_;) {
      instruction_ = at_;
      if (++instructions_ > rules_.instructions)
        throw LimitError(
            file_, place(),
            found_expected("more than " + std::to_string(rules_.instructions) + " pickle instructions", "fewer"));
      const auto code = take<std::uint8_t>();
      if (!dialect_.execute(code, *this)) execute(code);
    }
    if (at_ != pickle_.size())
      refuse(std::to_string(pickle_.size() - at_) + " bytes after the end of the pickle", "none");
    if (stack_.size() != 1) refuse(std::to_string(stack_.size()) + " values at the end", "one");
    if (stack_.front().kind == PickleKind::mark) refuse("a mark", "a value");
    return stack_.front();
  }

  [[nodiscard]] std::string_view text(const PickleValue& string) const {
    if (string.decoded) return texts_[string.index];
    return pickle_.substr(static_cast<std::size_t>(string.begin), static_cast<std::size_t>(string.integer));
  }
  [[nodiscard]] const std::vector<PickleValue>& items(const PickleValue& compound) const {
    return compounds_[compound.index];
  }

  // What dialects build their instructions of.

  [[nodiscard]] std::string place() const {
    return (rules_.place.empty() ? "" : std::string(rules_.place) + " ") + "byte " + std::to_string(instruction_);
  }
  [[nodiscard]] bool at_start() const { return instruction_ == 0; }
  [[noreturn]] void refuse(const std::string& found, const std::string& expected) const {
    throw FormatError(file_, place(), found_expected(found, expected));
  }

  /// The next bytes as a little-endian number.
  template <class T>
  [[nodiscard]] T take() {
    if (pickle_.size() - at_ < sizeof(T)) refuse("the end of the pickle", "the rest of an instruction");
    T value;
    std::memcpy(&value, pickle_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }

  [[nodiscard]] std::string_view take_bytes(std::size_t length) {
    if (pickle_.size() - at_ < length)
      refuse("a value of " + std::to_string(length) + " bytes",
             "at most the " + std::to_string(pickle_.size() - at_) + " that are left");
    at_ += length;
    return pickle_.substr(at_ - length, length);
  }

  [[nodiscard]] std::string_view take_line(const std::string& what = "a name", std::size_t longest = 256) {
    const std::size_t end = pickle_.substr(at_, longest).find('\n');
    if (end == std::string_view::npos)
      refuse(what + " without an end", "at most " + std::to_string(longest) + " bytes and a line end");
    const std::string_view line = pickle_.substr(at_, end);
    at_ += end + 1;
    return line;
  }

  void push(PickleValue value) {
    if (stack_.size() == rules_.stack)
      throw LimitError(file_, place(),
                       found_expected("more than " + std::to_string(rules_.stack) + " values on the stack", "fewer"));
    stack_.push_back(value);
  }

  void push_compound(PickleKind kind, std::vector<PickleValue> items) {
    if (compounds_.size() == rules_.compounds)
      throw LimitError(
          file_, place(),
          found_expected("more than " + std::to_string(rules_.compounds) + " tuples, lists and dicts", "fewer"));
    const auto index = static_cast<std::uint32_t>(compounds_.size());
    compounds_.push_back(std::move(items));
    push({.kind = kind, .index = index});
  }

  PickleValue pop() {
    if (stack_.empty()) refuse("an empty stack", "a value");
    const PickleValue value = stack_.back();
    if (value.kind == PickleKind::mark) refuse("a mark", "a value");
    stack_.pop_back();
    return value;
  }

  [[nodiscard]] std::vector<PickleValue> pop_many(std::size_t count) {
    std::vector<PickleValue> values(count);
    for (std::size_t i = count; i-- > 0;) values[i] = pop();
    return values;
  }

  [[nodiscard]] std::vector<PickleValue> pop_to_mark() {
    const auto mark = std::find_if(stack_.rbegin(), stack_.rend(),
                                   [](const PickleValue& value) { return value.kind == PickleKind::mark; });
    if (mark == stack_.rend()) refuse("no mark on the stack", "one");
    std::vector<PickleValue> values(mark.base(), stack_.end());
    stack_.erase(mark.base() - 1, stack_.end());
    return values;
  }

  [[nodiscard]] PickleValue top(PickleKind kind) {
    if (stack_.empty()) refuse("an empty stack", std::string(kind_name(kind)));
    if (stack_.back().kind != kind) refuse(std::string(kind_name(stack_.back().kind)), std::string(kind_name(kind)));
    return stack_.back();
  }

  void append(const std::vector<PickleValue>& values) {
    const PickleValue target = top(PickleKind::list);
    std::vector<PickleValue>& items = compounds_[target.index];
    for (const PickleValue& value : values) {
      refuse_itself(target, value);
      items.push_back(value);
    }
  }

  void set_items(const std::vector<PickleValue>& values) {
    const PickleValue target = top(PickleKind::dict);
    if (values.size() % 2 != 0) refuse("a key without a value", "pairs");
    std::vector<PickleValue>& items = compounds_[target.index];
    for (const PickleValue& value : values) {
      refuse_itself(target, value);
      items.push_back(value);
    }
  }

  void refuse_itself(const PickleValue& target, const PickleValue& value) const {
    if (value.kind == target.kind && value.index == target.index)
      refuse(std::string(kind_name(target.kind)) + " that contains itself", "none");
  }

  void memoize(std::uint32_t key) {
    if (stack_.empty() || stack_.back().kind == PickleKind::mark) refuse("no value", "one to remember");
    if (memo_.size() == rules_.memo && !memo_.contains(key))
      throw LimitError(file_, place(),
                       found_expected("more than " + std::to_string(rules_.memo) + " remembered values", "fewer"));
    memo_[key] = stack_.back();
  }

  void recall(std::uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) refuse("a reference to value " + std::to_string(key), "one that was remembered before");
    push(found->second);
  }

  /// Number of values that were remembered under a key of their own.
  [[nodiscard]] std::size_t remembered() const { return memo_.size(); }

  /// `length` bytes of the pickle as a string.
  void string(std::size_t length) {
    static_cast<void>(take_bytes(length));
    push({.kind = PickleKind::string, .begin = at_ - length, .integer = static_cast<std::int64_t>(length)});
  }

  /// A string that does not stand in the pickle as it is.
  void push_text(std::string text) {
    const auto index = static_cast<std::uint32_t>(texts_.size());
    if (texts_.size() == rules_.compounds)
      throw LimitError(file_, place(),
                       found_expected("more than " + std::to_string(rules_.compounds) + " strings", "fewer"));
    const auto length = static_cast<std::int64_t>(text.size());
    texts_.push_back(std::move(text));
    push({.kind = PickleKind::string, .decoded = true, .index = index, .integer = length});
  }

 private:
  void execute(std::uint8_t code) {
    switch (code) {
      case '.':
        stopped_ = true;
        return;
      case '(':
        return push({.kind = PickleKind::mark});
      case 'N':
        return push({.kind = PickleKind::none});
      case 0x88:
        return push({.kind = PickleKind::boolean, .integer = 1});
      case 0x89:
        return push({.kind = PickleKind::boolean});
      case 'J':
        return push({.kind = PickleKind::integer, .integer = take<std::int32_t>()});
      case 'K':
        return push({.kind = PickleKind::integer, .integer = take<std::uint8_t>()});
      case 'M':
        return push({.kind = PickleKind::integer, .integer = take<std::uint16_t>()});
      case 0x8a:
        return long_integer();
      case 'G':
        return push({.kind = PickleKind::real, .integer = std::bit_cast<std::int64_t>(big_endian_double())});
      case 'X':
        return string(take<std::uint32_t>());
      case ')':
        return push_compound(PickleKind::tuple, {});
      case ']':
        return push_compound(PickleKind::list, {});
      case '}':
        return push_compound(PickleKind::dict, {});
      case 't':
        return push_compound(PickleKind::tuple, pop_to_mark());
      case 0x85:
        return push_compound(PickleKind::tuple, pop_many(1));
      case 0x86:
        return push_compound(PickleKind::tuple, pop_many(2));
      case 0x87:
        return push_compound(PickleKind::tuple, pop_many(3));
      case 'a':
        return append(pop_many(1));
      case 'e':
        return append(pop_to_mark());
      case 's':
        return set_items(pop_many(2));
      case 'u':
        return set_items(pop_to_mark());
      case 'q':
        return memoize(take<std::uint8_t>());
      case 'r':
        return memoize(take<std::uint32_t>());
      case 'h':
        return recall(take<std::uint8_t>());
      case 'j':
        return recall(take<std::uint32_t>());
      default:
        break;
    }
    constexpr char digits[] = "0123456789abcdef";
    refuse(std::string("pickle instruction 0x") + digits[code >> 4] + digits[code & 15],
           "one that " + std::string(rules_.writer) + " writes");
  }

  [[nodiscard]] double big_endian_double() {
    const std::string_view bytes = take_bytes(8);
    std::uint64_t bits = 0;
    for (const char byte : bytes) bits = bits << 8 | static_cast<unsigned char>(byte);
    return std::bit_cast<double>(bits);
  }

  void long_integer() {
    const std::size_t length = take<std::uint8_t>();
    const std::string_view bytes = take_bytes(length);
    if (length > 8) refuse("an integer of " + std::to_string(length) + " bytes", "at most 8");
    std::uint64_t value = length > 0 && static_cast<signed char>(bytes.back()) < 0 ? ~std::uint64_t{0} : 0;
    std::memcpy(&value, bytes.data(), length);
    push({.kind = PickleKind::integer, .integer = static_cast<std::int64_t>(value)});
  }

  std::string_view pickle_;
  const std::string& file_;
  PickleRules rules_;
  Dialect& dialect_;
  std::size_t at_ = 0;
  std::size_t instruction_ = 0;
  std::size_t instructions_ = 0;
  bool stopped_ = false;
  std::vector<PickleValue> stack_;
  std::unordered_map<std::uint32_t, PickleValue> memo_;
  std::deque<std::vector<PickleValue>> compounds_;
  std::deque<std::string> texts_;
};

}  // namespace lisa::detail
