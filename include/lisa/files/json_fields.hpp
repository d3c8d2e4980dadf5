#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/files/json.hpp"

namespace lisa {

/// A JSON value in a word or two for messages: "the string \"4096\"", "an object".
[[nodiscard]] inline std::string json_in_words(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "the string " + lisa::quoted(value.get_ref<const std::string&>());
    case Json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    default:
      return "the number " + printable(value.dump(), 40);
  }
}

/// Reads the members of one JSON object by name and type, and notes what is missing, of a wrong type or out of range,
/// so that all of it is reported at once. A null counts as absent, as transformers writes it for "not set".
class JsonFields {
 public:
  /// @param object  must be a JSON object and outlive this; anything else is a defect of its own
  /// @param defects where defects go
  /// @param prefix  path of the object in its file, "vision_config." for instance
  JsonFields(const Json& object, Defects& defects, std::string prefix = {})
      : object_(object), defects_(defects), prefix_(std::move(prefix)) {
    if (!object.is_object())
      add_defect(prefix_.empty() ? "the file" : prefix_.substr(0, prefix_.size() - 1),
                 found_expected(json_in_words(object), "an object"));
  }

  /// Member by name; nothing when it is absent or null.
  [[nodiscard]] const Json* find(std::string_view name) const {
    if (!object_.is_object()) return nullptr;
    const auto member = object_.find(name);
    return member == object_.end() || member->is_null() ? nullptr : &*member;
  }

  /// A whole number within [lowest, highest]; nothing when absent or wrong.
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t lowest, std::int64_t highest) {
    const Json* value = find(name);
    if (value == nullptr) return std::nullopt;
    const std::string range = "a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest);
    const bool too_big = value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX;
    if (!value->is_number_integer() || too_big || value->get<std::int64_t>() < lowest ||
        value->get<std::int64_t>() > highest) {
      wrong(name, *value, range);
      return std::nullopt;
    }
    return value->get<std::int64_t>();
  }

  /// A number within (above, highest]; nothing when absent or wrong.
  std::optional<double> number(std::string_view name, double above, double highest) {
    const Json* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number() || !(value->get<double>() > above && value->get<double>() <= highest)) {
      wrong(name, *value, "a number above " + Json(above).dump() + ", at most " + Json(highest).dump());
      return std::nullopt;
    }
    return value->get<double>();
  }

  std::optional<bool> boolean(std::string_view name) {
    const Json* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_boolean()) return value->get<bool>();
    wrong(name, *value, "true or false");
    return std::nullopt;
  }

  std::optional<std::string> text(std::string_view name) {
    const Json* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) return value->get<std::string>();
    wrong(name, *value, "a string");
    return std::nullopt;
  }

  /// Notes `name` as a defect unless it is there.
  void require(std::string_view name, std::string_view what) {
    if (object_.is_object() && find(name) == nullptr)
      add_defect(std::string(prefix_) + std::string(name), "missing, expected " + std::string(what));
  }

  void wrong(std::string_view name, const Json& value, std::string_view expected) {
    add_defect(prefix_ + std::string(name), found_expected(json_in_words(value), expected));
  }

 private:
  void add_defect(const std::string& place, const std::string& message) {
    defects_.add(printable(place) + ": " + message);
  }

  const Json& object_;
  Defects& defects_;
  std::string prefix_;
};

}  // namespace lisa
