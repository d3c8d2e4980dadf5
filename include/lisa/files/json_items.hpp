#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// A member of a JSON document's outermost value, as `read_json_items` found it.
struct JsonMember {
  std::string name;       ///< empty when the document itself is an array
  bool is_array = false;  ///< otherwise some other value
  std::size_t items = 0;  ///< elements of an array
};

/// Bounds on a document that is read item by item.
struct JsonItemLimits {
  std::uint64_t bytes = std::uint64_t{16} << 30;  ///< of the file
  JsonLimits item;                                ///< depth and values of one item
};

namespace detail {

/// Receives the parse events of a document and hands on the elements of its outermost arrays one by one, so that the
/// document never stands in memory as a whole.
class JsonItemReader final : public JsonEvents {
 public:
  using Wanted = std::function<bool(std::string_view member)>;
  using Item = std::function<void(std::string_view member, std::size_t index, Json&& value)>;

  JsonItemReader(std::string_view text, const std::string& file, const JsonLimits& limits, const Wanted& wanted,
                 const Item& item)
      : text_(text), file_(file), limits_(limits), wanted_(wanted), item_(item) {}

  std::vector<JsonMember> members;

  bool null() override {
    return scalar([](JsonBuilder& b) { return b.null(); });
  }
  bool boolean(bool value) override {
    return scalar([&](JsonBuilder& b) { return b.boolean(value); });
  }
  bool number_integer(std::int64_t value) override {
    return scalar([&](JsonBuilder& b) { return b.number_integer(value); });
  }
  bool number_unsigned(std::uint64_t value) override {
    return scalar([&](JsonBuilder& b) { return b.number_unsigned(value); });
  }
  bool number_float(double value, const std::string& text) override {
    return scalar([&](JsonBuilder& b) { return b.number_float(value, text); });
  }
  bool string(std::string& value) override {
    return scalar([&](JsonBuilder& b) { return b.string(value); });
  }
  bool binary(Json::binary_t&) override { return false; }
  bool key(std::string& value) override {
    if (depth_ != 1 || state_ != State::members) return !builder_ || builder_->key(value);
    if (!names_.insert(value).second)
      throw FormatError(file_, "key " + quoted(value), found_expected("the key twice", "once"));
    members.push_back({std::move(value), false, 0});
    return true;
  }
  bool start_object(std::size_t size) override {
    if (depth_ == 0) {
      state_ = State::members;
      ++depth_;
      return true;
    }
    begin_item();
    return enter() && (!builder_ || builder_->start_object(size));
  }
  bool start_array(std::size_t size) override {
    const bool outermost = depth_ == 0 || (depth_ == 1 && state_ == State::members);
    if (!outermost) {
      begin_item();
      return enter() && (!builder_ || builder_->start_array(size));
    }
    if (depth_ == 0) members.push_back({"", false, 0});
    members.back().is_array = true;
    array_depth_ = ++depth_;
    state_ = State::items;
    collect_ = wanted_(members.back().name);
    return true;
  }
  bool end_object() override {
    return leave([](JsonBuilder& b) { return b.end_object(); });
  }
  bool end_array() override {
    if (state_ == State::items && depth_ == array_depth_) {
      --depth_;
      state_ = State::members;
      return true;
    }
    return leave([](JsonBuilder& b) { return b.end_array(); });
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    throw FormatError(file_, json_place(text_, position), json_complaint(error.what()));
  }

 private:
  enum class State : std::uint8_t { members, items };

  /// Before an element of an outermost array: its builder, when it is wanted.
  void begin_item() {
    if (state_ == State::items && depth_ == array_depth_ && collect_) builder_.emplace(text_, file_, limits_);
  }

  bool enter() {
    if (++depth_ > limits_.depth)
      throw LimitError(file_, "",
                       found_expected("values nested deeper than " + std::to_string(limits_.depth), "fewer levels"));
    return true;
  }

  template <class Event>
  bool scalar(const Event& event) {
    begin_item();
    const bool go_on = !builder_ || event(*builder_);
    end_item();
    return go_on;
  }

  template <class Event>
  bool leave(const Event& event) {
    --depth_;
    const bool go_on = !builder_ || event(*builder_);
    end_item();
    return go_on;
  }

  /// After a value: if it was an element of an outermost array, it is handed on.
  void end_item() {
    if (state_ != State::items || depth_ != array_depth_) return;
    const std::size_t index = members.back().items++;
    if (!builder_) return;
    item_(members.back().name, index, std::move(builder_->root));
    builder_.reset();
  }

  std::string_view text_;
  const std::string& file_;
  JsonLimits limits_;
  const Wanted& wanted_;
  const Item& item_;
  std::unordered_set<std::string> names_;
  std::optional<JsonBuilder> builder_;  ///< of the item that is being read
  State state_ = State::members;
  bool collect_ = false;
  std::size_t depth_ = 0;
  std::size_t array_depth_ = 0;
};

}  // namespace detail

/// Reads a JSON document that is an array, or an object with arrays, element by element: `item` receives those of every
/// array whose name `wanted` accepts ("" when the document is an array), in the order of the file. Memory is taken for
/// one element at a time. Returns the members of the document in their order, so that missing ones can be reported.
/// As strict as `read_json`, but a UTF-8 byte order mark is skipped.
/// @throws FormatError, LimitError, IoError, and what `item` throws
inline std::vector<JsonMember> read_json_items(
    const std::filesystem::path& path, const std::function<bool(std::string_view member)>& wanted,
    const std::function<void(std::string_view member, std::size_t index, Json&& value)>& item,
    const JsonItemLimits& limits = {}) {
  const MappedFile file(path);
  if (file.size() > limits.bytes)
    throw LimitError(
        file.name(), "",
        found_expected(std::to_string(file.size()) + " bytes of JSON", "at most " + std::to_string(limits.bytes)));
  std::string_view text = file.text();
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (text.starts_with("version https://git-lfs"))
    throw FormatError(file.name(), "", found_expected("a Git LFS pointer (run `git lfs pull`)", "JSON"));
  detail::JsonItemReader reader(text, file.name(), limits.item, wanted, item);
  if (!detail::read_json_events(text, reader)) throw FormatError(file.name(), "", "found no JSON value");
  file.require_intact();
  return std::move(reader.members);
}

}  // namespace lisa
