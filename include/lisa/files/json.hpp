#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// A parsed JSON value; objects keep the order of the file.
using Json = nlohmann::ordered_json;

/// Bounds on a JSON text.
struct JsonLimits {
  std::size_t bytes = std::size_t{32} << 20;
  std::size_t depth = 64;
  std::size_t values = 400'000;
};

namespace detail {

/// "line 3, byte 41": the line a human looks for and the byte in the file, both counted from 1.
[[nodiscard]] inline std::string json_place(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte == 0 ? 0 : byte - 1, text.size()));
  return "line " + std::to_string(std::count(before.begin(), before.end(), '\n') + 1) + ", byte " +
         std::to_string(byte);
}

/// What nlohmann's parser says about broken JSON, without its error number and position.
[[nodiscard]] inline std::string json_complaint(std::string_view what) {
  if (const std::size_t end = what.find("] "); end != std::string_view::npos) what.remove_prefix(end + 2);
  if (what.starts_with("parse error"))
    if (const std::size_t end = what.find(": "); end != std::string_view::npos) what.remove_prefix(end + 2);
  return printable(what, 160);
}

/// Receiver of nlohmann's parse events.
using JsonEvents = nlohmann::json_sax<Json>;

/// Reads one JSON value and reports its events; false when the receiver stopped. nlohmann's parser is named directly
/// and the receiver is virtual because Json::sax_parse would compile a reader of every binary format for every
/// receiver.
[[nodiscard]] inline bool read_json_events(std::string_view text, JsonEvents& events) {
  auto input = nlohmann::detail::input_adapter(text.begin(), text.end());
  return nlohmann::detail::parser<Json, decltype(input)>(std::move(input)).sax_parse(&events);
}

/// Builds a Json value from parse events. nlohmann's own builder keeps the last of two equal keys silently; this
/// one refuses them, and stops at the limits.
class JsonBuilder final : public JsonEvents {
 public:
  JsonBuilder(std::string_view text, const std::string& file, const JsonLimits& limits)
      : text_(text), file_(file), limits_(limits) {}

  Json root;

  bool null() override { return add(nullptr) != nullptr; }
  bool boolean(bool value) override { return add(value) != nullptr; }
  bool number_integer(std::int64_t value) override { return add(value) != nullptr; }
  bool number_unsigned(std::uint64_t value) override { return add(value) != nullptr; }
  bool number_float(double value, const std::string&) override { return add(value) != nullptr; }
  bool string(std::string& value) override { return add(std::move(value)) != nullptr; }
  bool binary(Json::binary_t&) override { return false; }
  bool key(std::string& value) override {
    if (!keys_.back().insert(value).second)
      throw FormatError(file_, "key " + quoted(path() + value), found_expected("the key twice", "once"));
    key_ = std::move(value);
    return true;
  }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    throw FormatError(file_, json_place(text_, position), json_complaint(error.what()));
  }

 private:
  [[nodiscard]] std::string path() const {
    std::string names;
    for (const std::string& name : names_)
      if (!name.empty()) names += name + ".";
    return names;
  }

  Json* add(Json value) {
    if (++values_ > limits_.values)
      throw LimitError(file_, "",
                       found_expected("more than " + std::to_string(limits_.values) + " JSON values", "fewer"));
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    // The object's storage is a vector and its keys are known to differ: no search.
    auto& members = parent.get_ref<Json::object_t&>();
    static_cast<std::vector<std::pair<const std::string, Json>>&>(members).emplace_back(std::move(key_),
                                                                                        std::move(value));
    return &members.back().second;
  }

  bool open(Json value) {
    if (open_.size() == limits_.depth)
      throw LimitError(file_, "",
                       found_expected("values nested deeper than " + std::to_string(limits_.depth), "fewer levels"));
    names_.push_back(!open_.empty() && open_.back()->is_object() ? key_ : std::string());
    open_.push_back(add(std::move(value)));
    keys_.emplace_back();
    return true;
  }

  bool close() {
    open_.pop_back();
    keys_.pop_back();
    names_.pop_back();
    return true;
  }

  std::string_view text_;
  const std::string& file_;
  JsonLimits limits_;
  std::vector<Json*> open_;                            ///< containers from the root to the current one
  std::vector<std::unordered_set<std::string>> keys_;  ///< keys seen in each of them
  std::vector<std::string> names_;                     ///< key under which each of them stands
  std::string key_;
  std::size_t values_ = 0;
};

}  // namespace detail

/// Parses a whole text as one JSON value: UTF-8 without byte order mark, no key twice in an object, no NaN, Infinity or
/// number beyond a double, nothing after the value. `file` names it in messages. Throws FormatError, LimitError.
[[nodiscard]] inline Json parse_json(std::string_view text, const std::string& file, const JsonLimits& limits = {}) {
  if (text.size() > limits.bytes)
    throw LimitError(
        file, "",
        found_expected(std::to_string(text.size()) + " bytes of JSON", "at most " + std::to_string(limits.bytes)));
  if (text.starts_with("\xEF\xBB\xBF"))
    throw FormatError(file, "byte 1", found_expected("a UTF-8 byte order mark", "JSON without one"));
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF") ||
      (text.size() > 1 && (text[0] == '\0' || text[1] == '\0')))
    throw FormatError(file, "byte 1", found_expected("UTF-16 or UTF-32 text", "UTF-8"));
  detail::JsonBuilder builder(text, file, limits);
  if (!detail::read_json_events(text, builder)) throw FormatError(file, "", "found no JSON value");
  return std::move(builder.root);
}

/// `parse_json` of a regular file. Throws IoError too.
[[nodiscard]] inline Json read_json(const std::filesystem::path& path, const JsonLimits& limits = {}) {
  const MappedFile file(path);
  if (file.size() > limits.bytes)
    throw LimitError(
        file.name(), "",
        found_expected(std::to_string(file.size()) + " bytes of JSON", "at most " + std::to_string(limits.bytes)));
  if (file.text().starts_with("version https://git-lfs"))
    throw FormatError(file.name(), "", found_expected("a Git LFS pointer (run `git lfs pull`)", "JSON"));
  Json value = parse_json(file.text(), file.name(), limits);
  file.require_intact();
  return value;
}

}  // namespace lisa
