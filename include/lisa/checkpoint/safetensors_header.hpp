#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/json.hpp"

namespace lisa {

/// What the header of a safetensors file says.
struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;            ///< in the order of their data; offsets are those in the file
  std::map<std::string, std::string> metadata;  ///< the `__metadata__` object
  std::uint64_t data_begin = 0;                 ///< byte of the file where tensor data begins
};

/// Longest header that is read, in bytes; the format's reference implementation has the same bound.
inline constexpr std::uint64_t max_safetensors_header = 100'000'000;

namespace detail {

[[nodiscard]] inline std::string tensor_place(std::string_view name) { return "tensor " + quoted(name); }

/// Receives nlohmann's parse events of one header and keeps the tensors. Values of a wrong type are noted as defects
/// and skipped, so that one run reports all of them; only broken JSON ends the parse.
class SafetensorsHeaderEvents final : public JsonEvents {
 public:
  struct Tensor {
    StoredTensor stored;
    std::uint64_t offsets[2] = {0, 0};
    std::size_t offset_count = 0;
    bool has_dtype = false, has_shape = false, has_offsets = false;
  };

  explicit SafetensorsHeaderEvents(FileDefects& defects) : defects_(defects) {}

  std::vector<Tensor> tensors;
  std::map<std::string, std::string> metadata;
  std::string syntax_error;           ///< set when the JSON itself is broken
  std::size_t syntax_error_byte = 0;  ///< offset in the header, 1-based as nlohmann counts

  bool null() override { return scalar("null"); }
  bool boolean(bool value) override { return scalar(value ? "true" : "false"); }
  bool number_integer(std::int64_t value) override { return scalar(std::to_string(value)); }
  bool number_float(double, const std::string& text) override { return scalar(printable(text, 40)); }
  bool binary(Json::binary_t&) override { return false; }

  bool number_unsigned(std::uint64_t value) override {
    if (skip_ > 0) return true;
    if (place_ == Place::shape) {
      add_extent(value);
      return true;
    }
    if (place_ == Place::offsets) {
      if (tensors.back().offset_count < 2) tensors.back().offsets[tensors.back().offset_count] = value;
      ++tensors.back().offset_count;
      return true;
    }
    return scalar(std::to_string(value));
  }

  bool string(std::string& value) override {
    if (skip_ > 0) return true;
    if (place_ == Place::metadata) {
      if (!metadata.emplace(key_, value).second)
        defects_.add("field \"__metadata__\"." + quoted(key_), found_expected("the key twice", "once"));
      return true;
    }
    if (place_ == Place::tensor && field_ == Field::dtype) {
      set_dtype(value);
      return true;
    }
    return scalar(quoted(value, 40) + " (string)");
  }

  bool key(std::string& value) override {
    if (skip_ > 0) return true;
    if (place_ == Place::top) {
      key_ = std::move(value);
    } else if (place_ == Place::metadata) {
      key_ = std::move(value);
    } else {
      start_field(value);
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (skip_ > 0) return enter_skipped();
    if (place_ == Place::outside) {
      place_ = Place::top;
    } else if (place_ == Place::top && key_ == "__metadata__") {
      if (metadata_seen_) defects_.add("field \"__metadata__\"", found_expected("it twice", "once"));
      metadata_seen_ = true;
      place_ = Place::metadata;
    } else if (place_ == Place::top) {
      tensors.emplace_back().stored.name = std::move(key_);
      place_ = Place::tensor;
    } else {
      scalar("an object");
      skip_ = 1;
    }
    return true;
  }

  bool end_object() override {
    if (skip_ > 0) {
      --skip_;
      return true;
    }
    if (place_ == Place::tensor) finish_tensor();
    place_ = place_ == Place::top ? Place::outside : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (skip_ > 0) return enter_skipped();
    if (place_ == Place::tensor && field_ == Field::shape) {
      place_ = Place::shape;
    } else if (place_ == Place::tensor && field_ == Field::offsets) {
      place_ = Place::offsets;
    } else {
      scalar("an array");
      skip_ = 1;
    }
    return true;
  }

  bool end_array() override {
    if (skip_ > 0) {
      --skip_;
      return true;
    }
    if (place_ == Place::shape && tensors.back().stored.shape.size() > max_stored_rank)
      defects_.add(here(),
                   found_expected(std::to_string(rank_) + " dimensions", "at most " + std::to_string(max_stored_rank)));
    if (place_ == Place::offsets && tensors.back().offset_count != 2)
      defects_.add(here(), found_expected(std::to_string(tensors.back().offset_count) + " numbers", "two"));
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    // "[json.exception...] parse error at line 1, column 2: what": the place is said by the caller.
    std::string_view text = error.what();
    for (const std::string_view end : {std::string_view("] "), std::string_view("column ")})
      if (const std::size_t at = text.find(end); at != std::string_view::npos) text.remove_prefix(at + end.size());
    if (const std::size_t at = text.find(": "); at != std::string_view::npos && at < 20) text.remove_prefix(at + 2);
    syntax_error = printable(text, 160);
    syntax_error_byte = position;
    return false;
  }

 private:
  enum class Place { outside, top, metadata, tensor, shape, offsets };
  enum class Field { dtype, shape, offsets, unknown };

  static constexpr std::size_t max_depth = 64;

  bool enter_skipped() {
    if (++skip_ <= max_depth) return true;
    syntax_error = found_expected("brackets nested deeper than " + std::to_string(max_depth), "at most 3 levels");
    return false;
  }

  [[nodiscard]] std::string here() const {
    if (place_ == Place::outside) return "header";
    if (place_ == Place::top) return key_ == "__metadata__" ? "field \"__metadata__\"" : tensor_place(key_);
    if (place_ == Place::metadata) return "field \"__metadata__\"." + quoted(key_);
    constexpr std::string_view names[] = {"dtype", "shape", "data_offsets", ""};
    const std::string_view name = names[static_cast<std::size_t>(field_)];
    return tensor_place(tensors.back().stored.name) + (name.empty() ? "" : ": " + std::string(name));
  }

  /// A value that this place has no use for.
  bool scalar(const std::string& found) {
    if (skip_ > 0 || (place_ == Place::tensor && field_ == Field::unknown)) return true;
    constexpr std::string_view expected[] = {"an object", "an object",     "a string",
                                             "",          "integers >= 0", "integers >= 0"};
    constexpr std::string_view of_field[] = {"a string", "an array", "an array", ""};
    defects_.add(here(), found_expected(found, place_ == Place::tensor ? of_field[static_cast<std::size_t>(field_)]
                                                                       : expected[static_cast<std::size_t>(place_)]));
    return true;
  }

  void add_extent(std::uint64_t value) {
    ++rank_;
    std::vector<std::int64_t>& shape = tensors.back().stored.shape;
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      defects_.add(here(), found_expected(std::to_string(value), "an extent below 2^63"));
    else if (shape.size() <= max_stored_rank)
      shape.push_back(static_cast<std::int64_t>(value));
  }

  void set_dtype(const std::string& name) {
    const auto* const known = std::find_if(stored_dtypes.begin(), stored_dtypes.end(),
                                           [&](const StoredDtypeInfo& type) { return type.safetensors_name == name; });
    if (known != stored_dtypes.end()) {
      tensors.back().stored.dtype = known->dtype;
      return;
    }
    std::string supported;
    for (const StoredDtypeInfo& type : stored_dtypes)
      supported += (supported.empty() ? "" : ", ") + std::string(type.safetensors_name);
    defects_.add(here(), found_expected(quoted(name, 40), "one of " + supported));
  }

  void start_field(const std::string& name) {
    Tensor& tensor = tensors.back();
    bool* seen = nullptr;
    if (name == "dtype") {
      field_ = Field::dtype;
      seen = &tensor.has_dtype;
    } else if (name == "shape") {
      field_ = Field::shape;
      seen = &tensor.has_shape;
      tensor.stored.shape.clear();
      rank_ = 0;
    } else if (name == "data_offsets") {
      field_ = Field::offsets;
      seen = &tensor.has_offsets;
      tensor.offset_count = 0;
    } else {
      field_ = Field::unknown;
      defects_.add(here(), found_expected("field " + quoted(name, 40), "only dtype, shape and data_offsets"));
      return;
    }
    if (*seen) defects_.add(here(), found_expected("the field twice", "once"));
    *seen = true;
  }

  void finish_tensor() {
    const Tensor& tensor = tensors.back();
    field_ = Field::unknown;
    for (const auto& [present, name] : {std::pair{tensor.has_dtype, "dtype"}, std::pair{tensor.has_shape, "shape"},
                                        std::pair{tensor.has_offsets, "data_offsets"}})
      if (!present) defects_.add(here(), "found no " + std::string(name) + ", expected one");
  }

  FileDefects& defects_;
  Place place_ = Place::outside;
  Field field_ = Field::unknown;
  std::string key_;
  std::size_t skip_ = 0;  ///< depth inside a value that is being skipped
  std::size_t rank_ = 0;
  bool metadata_seen_ = false;
};

/// Every name at most once; the names that occur again are defects.
inline void check_names_unique(const std::vector<SafetensorsHeaderEvents::Tensor>& tensors, FileDefects& defects) {
  std::vector<const std::string*> names;
  names.reserve(tensors.size());
  for (const auto& tensor : tensors) names.push_back(&tensor.stored.name);
  std::sort(names.begin(), names.end(), [](const std::string* a, const std::string* b) { return *a < *b; });
  for (std::size_t i = 1; i < names.size(); ++i)
    if (*names[i] == *names[i - 1] && (i < 2 || *names[i] != *names[i - 2]))
      defects.add(tensor_place(*names[i]), found_expected("the name twice", "once"));
}

/// Size of each tensor against its shape and dtype, and its range against the data of the file.
inline void check_extents(const std::vector<SafetensorsHeaderEvents::Tensor>& tensors, std::uint64_t data_size,
                          FileDefects& defects) {
  for (const auto& tensor : tensors) {
    const std::string& name = tensor.stored.name;
    const auto [begin, end] = std::pair{tensor.offsets[0], tensor.offsets[1]};
    const std::optional<std::uint64_t> bytes = byte_count(tensor.stored.shape, tensor.stored.dtype);
    const auto complain = [&](const std::string& message) { defects.add(tensor_place(name), message); };
    const std::string range = "data_offsets [" + std::to_string(begin) + ", " + std::to_string(end) + "]";
    if (end < begin)
      complain(found_expected(range, "the end not before the begin"));
    else if (end > data_size)
      complain(
          found_expected(range, "an end of at most " + std::to_string(data_size) + ", the data bytes of the file"));
    else if (!bytes)
      complain(found_expected("shape " + shape_text(tensor.stored.shape), "a size below 2^63 bytes"));
    else if (end - begin != *bytes)
      complain(found_expected(std::to_string(end - begin) + " bytes",
                              std::to_string(*bytes) + " for " +
                                  std::string(info(tensor.stored.dtype).safetensors_name) + " " +
                                  shape_text(tensor.stored.shape)));
  }
}

/// No hole, no overlap, no bytes after the last tensor: `tensors` are sorted by offset.
inline void check_layout(const std::vector<SafetensorsHeaderEvents::Tensor>& tensors, std::uint64_t data_size,
                         FileDefects& defects) {
  std::uint64_t covered = 0;
  const std::string* last = nullptr;
  for (const auto& tensor : tensors) {
    const std::uint64_t begin = tensor.offsets[0];
    if (begin < covered)
      defects.add(tensor_place(tensor.stored.name),
                  found_expected("data that overlaps tensor " + quoted(*last), "data of its own"));
    else if (begin > covered)
      defects.add(tensor_place(tensor.stored.name),
                  found_expected("a hole of " + std::to_string(begin - covered) + " bytes before its data", "none"));
    if (tensor.offsets[1] > covered || last == nullptr) last = &tensor.stored.name;
    covered = std::max(covered, tensor.offsets[1]);
  }
  if (covered < data_size)
    defects.add("byte " + std::to_string(covered) + " of the data",
                found_expected(std::to_string(data_size - covered) + " bytes after the last tensor", "none"));
}

}  // namespace detail

/// Reads and checks the header of a safetensors file whose whole content is `content`. Enforces everything that the
/// format demands (unique names, known dtypes, sizes that agree, data without hole, overlap or rest), reports all
/// defects of one kind at once, and touches no tensor data. `file` names the file in messages.
/// Accepted on purpose, as by the reference reader: white space around the JSON object, rank 0, extents of 0.
/// Throws FormatError.
[[nodiscard]] inline SafetensorsHeader parse_safetensors_header(std::string_view content, const std::string& file) {
  static_assert(std::endian::native == std::endian::little, "safetensors files are little endian");
  if (content.size() < 8)
    throw FormatError(file, "byte 0", found_expected(std::to_string(content.size()) + " bytes", "at least 8"));
  std::uint64_t length = 0;
  std::memcpy(&length, content.data(), sizeof length);
  const std::uint64_t longest = std::min<std::uint64_t>(content.size() - 8, max_safetensors_header);
  if (length < 2 || length > longest)
    throw FormatError(
        file, "byte 0",
        found_expected("header length " + std::to_string(length), "at least 2 and at most " + std::to_string(longest)));

  FileDefects defects(file);
  detail::SafetensorsHeaderEvents events(defects);
  const std::string_view json = content.substr(8, length);
  // nlohmann would skip a byte order mark without a word.
  if (json.starts_with("\xEF\xBB\xBF"))
    throw FormatError(file, "byte 8", found_expected("a byte order mark", "a JSON object"));
  if (!detail::read_json_events(json, events))
    throw FormatError(file, "header byte " + std::to_string(events.syntax_error_byte), events.syntax_error);
  detail::check_names_unique(events.tensors, defects);
  defects.throw_if_any();

  const std::uint64_t data_begin = 8 + length;
  const std::uint64_t data_size = content.size() - data_begin;
  detail::check_extents(events.tensors, data_size, defects);
  defects.throw_if_any();
  // Tensors without data may share an offset; their names put them in one order.
  std::sort(events.tensors.begin(), events.tensors.end(), [](const auto& a, const auto& b) {
    return std::tie(a.offsets[0], a.offsets[1], a.stored.name) < std::tie(b.offsets[0], b.offsets[1], b.stored.name);
  });
  detail::check_layout(events.tensors, data_size, defects);
  defects.throw_if_any();

  SafetensorsHeader header{.tensors = {}, .metadata = std::move(events.metadata), .data_begin = data_begin};
  header.tensors.reserve(events.tensors.size());
  for (auto& tensor : events.tensors) {
    tensor.stored.begin = data_begin + tensor.offsets[0];
    tensor.stored.end = data_begin + tensor.offsets[1];
    header.tensors.push_back(std::move(tensor.stored));
  }
  return header;
}

}  // namespace lisa
