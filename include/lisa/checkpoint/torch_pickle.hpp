#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"
#include "lisa/files/file_defects.hpp"

namespace lisa {

/// A tensor of a torch state dict: a strided view of a storage, which is a record of the archive.
struct TorchTensor {
  std::string name;
  StoredDtype dtype = StoredDtype::f32;
  std::string storage;                ///< key of the storage: record `<folder>/data/<key>`
  std::int64_t storage_elements = 0;  ///< elements that the storage holds
  std::int64_t offset = 0;            ///< first element of the tensor in the storage
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  ///< in elements
};

/// What a torch pickle describes.
struct TorchStateDict {
  std::vector<TorchTensor> tensors;   ///< in the order of the pickle
  std::vector<std::string> warnings;  ///< things that were accepted but left out
};

/// Largest pickle that is read, in bytes: one of a 7B model has about 100 kB.
inline constexpr std::size_t max_torch_pickle = std::size_t{64} << 20;

namespace detail {

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

/// Names that a state dict may refer to. None of them is ever called: the first three stand for the shape of what
/// follows, the storages for element types.
enum class PickleGlobal : std::uint8_t { ordered_dict, rebuild_tensor, rebuild_parameter, storage };

/// A pickled value, 16 bytes, trivially copyable: compound values live in the reader's tables and are referred to by
/// index, so neither copying nor destroying anything recurses.
struct PickleValue {
  PickleKind kind = PickleKind::none;
  PickleGlobal global = PickleGlobal::ordered_dict;
  StoredDtype dtype = StoredDtype::f32;
  std::uint32_t index = 0;   ///< of a compound; for a string its first byte in the pickle
  std::int64_t integer = 0;  ///< value of an integer or boolean; length of a string
};

struct PickledStorage {
  StoredDtype dtype;
  std::string_view key;
  std::int64_t elements;
};

struct PickledTensor {
  std::uint32_t storage;
  std::int64_t offset;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
};

/// Reads the pickle of a torch state dict symbolically: a stack machine that knows the 33 instructions which torch's
/// own writer uses, and builds a description of the result. Nothing is called, imported or instantiated.
class TorchUnpickler {
 public:
  TorchUnpickler(std::string_view pickle, const std::string& file) : pickle_(pickle), file_(file) {}

  /// Runs up to STOP, which must be the last byte.
  [[nodiscard]] PickleValue run() {
    if (pickle_.size() > max_torch_pickle)
      throw LimitError(
          file_, "data.pkl",
          found_expected(std::to_string(pickle_.size()) + " bytes", "at most " + std::to_string(max_torch_pickle)));
    if (pickle_.size() < 2 || pickle_[0] != '\x80')
      refuse(pickle_.empty() ? "an empty pickle" : "no protocol mark", "a pickle of protocol 2");
    for (at_ = 0; !stopped_;) {
      instruction_ = at_;
      if (++instructions_ > max_instructions)
        throw LimitError(
            file_, place(),
            found_expected("more than " + std::to_string(max_instructions) + " pickle instructions", "fewer"));
      execute(take<std::uint8_t>());
    }
    if (at_ != pickle_.size())
      refuse(std::to_string(pickle_.size() - at_) + " bytes after the end of the pickle", "none");
    if (stack_.size() != 1) refuse(std::to_string(stack_.size()) + " values at the end", "one");
    return stack_.front();
  }

  [[nodiscard]] std::string_view text(const PickleValue& string) const {
    return pickle_.substr(string.index, static_cast<std::size_t>(string.integer));
  }
  [[nodiscard]] const std::vector<PickleValue>& items(const PickleValue& compound) const {
    return compounds_[compound.index];
  }
  [[nodiscard]] const PickledTensor& tensor(const PickleValue& value) const { return tensors_[value.index]; }
  [[nodiscard]] const PickledStorage& storage(const PickledTensor& tensor) const { return storages_[tensor.storage]; }

 private:
  static constexpr std::size_t max_instructions = 4'000'000;
  static constexpr std::size_t max_stack = 1'000'000;
  static constexpr std::size_t max_compounds = 1'000'000;
  static constexpr std::size_t max_memo = 500'000;

  [[nodiscard]] std::string place() const { return "data.pkl byte " + std::to_string(instruction_); }
  [[noreturn]] void refuse(const std::string& found, const std::string& expected) const {
    throw FormatError(file_, place(), found_expected(found, expected));
  }

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

  [[nodiscard]] std::string_view take_line() {
    constexpr std::size_t longest = 256;
    const std::size_t end = pickle_.substr(at_, longest).find('\n');
    if (end == std::string_view::npos) refuse("a name without an end", "at most 256 bytes and a line end");
    const std::string_view line = pickle_.substr(at_, end);
    at_ += end + 1;
    return line;
  }

  void execute(std::uint8_t code) {
    switch (code) {
      case 0x80:
        return protocol();
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
        static_cast<void>(take<std::uint64_t>());
        return push({.kind = PickleKind::real});
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
      case 'c':
        return global();
      case 'R':
        return reduce();
      case 'b':
        return build();
      case 'Q':
        return persistent_id();
      default:
        break;
    }
    constexpr char digits[] = "0123456789abcdef";
    refuse(std::string("pickle instruction 0x") + digits[code >> 4] + digits[code & 15],
           "one that torch.save writes (pickle protocol 2)");
  }

  void push(PickleValue value) {
    if (stack_.size() == max_stack)
      throw LimitError(file_, place(),
                       found_expected("more than " + std::to_string(max_stack) + " values on the stack", "fewer"));
    stack_.push_back(value);
  }

  void push_compound(PickleKind kind, std::vector<PickleValue> items) {
    if (compounds_.size() == max_compounds)
      throw LimitError(
          file_, place(),
          found_expected("more than " + std::to_string(max_compounds) + " tuples, lists and dicts", "fewer"));
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

  void protocol() {
    const int version = take<std::uint8_t>();
    if (instruction_ != 0 || version != 2)
      refuse("pickle protocol " + std::to_string(version), "protocol 2, once, as torch.save writes");
  }

  void long_integer() {
    const std::size_t length = take<std::uint8_t>();
    const std::string_view bytes = take_bytes(length);
    if (length > 8) refuse("an integer of " + std::to_string(length) + " bytes", "at most 8");
    std::uint64_t value = length > 0 && static_cast<signed char>(bytes.back()) < 0 ? ~std::uint64_t{0} : 0;
    std::memcpy(&value, bytes.data(), length);
    push({.kind = PickleKind::integer, .integer = static_cast<std::int64_t>(value)});
  }

  void string(std::size_t length) {
    static_cast<void>(take_bytes(length));
    push({.kind = PickleKind::string,
          .index = static_cast<std::uint32_t>(at_ - length),
          .integer = static_cast<std::int64_t>(length)});
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
    if (memo_.size() == max_memo && !memo_.contains(key))
      throw LimitError(file_, place(),
                       found_expected("more than " + std::to_string(max_memo) + " remembered values", "fewer"));
    memo_[key] = stack_.back();
  }

  void recall(std::uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) refuse("a reference to value " + std::to_string(key), "one that was remembered before");
    push(found->second);
  }

  void global() {
    const std::string_view module = take_line();
    const std::string_view name = take_line();
    PickleValue value{.kind = PickleKind::global};
    if (module == "collections" && name == "OrderedDict") {
      value.global = PickleGlobal::ordered_dict;
      return push(value);
    }
    if (module == "torch._utils" && name == "_rebuild_tensor_v2") {
      value.global = PickleGlobal::rebuild_tensor;
      return push(value);
    }
    if (module == "torch._utils" && name == "_rebuild_parameter") {
      value.global = PickleGlobal::rebuild_parameter;
      return push(value);
    }
    if (module == "torch") {
      for (const StoredDtypeInfo& type : stored_dtypes) {
        if (type.torch_storage != name) continue;
        value.global = PickleGlobal::storage;
        value.dtype = type.dtype;
        return push(value);
      }
    }
    refuse("a reference to " + quoted(std::string(module) + " " + std::string(name)),
           "only names that dense tensors of a state dict need (collections OrderedDict, torch._utils "
           "_rebuild_tensor_v2 and _rebuild_parameter, torch ...Storage); nothing was executed");
  }

  /// ("storage", torch.XStorage, key, location, elements)
  void persistent_id() {
    const PickleValue value = pop();
    if (value.kind != PickleKind::tuple) refuse(std::string(kind_name(value.kind)), "a storage reference (a tuple)");
    const std::vector<PickleValue>& parts = items(value);
    const bool well_formed = parts.size() == 5 && parts[0].kind == PickleKind::string && text(parts[0]) == "storage" &&
                             parts[1].kind == PickleKind::global && parts[1].global == PickleGlobal::storage &&
                             parts[2].kind == PickleKind::string && parts[3].kind == PickleKind::string &&
                             parts[4].kind == PickleKind::integer && parts[4].integer >= 0;
    if (!well_formed)
      refuse("another storage reference", "(\"storage\", torch ...Storage, key, location, number of elements)");
    if (storages_.size() == max_compounds) refuse("too many storage references", "fewer");
    const auto index = static_cast<std::uint32_t>(storages_.size());
    storages_.push_back({parts[1].dtype, text(parts[2]), parts[4].integer});
    push({.kind = PickleKind::storage, .index = index});
  }

  void reduce() {
    const PickleValue arguments = pop();
    const PickleValue callable = pop();
    if (callable.kind != PickleKind::global) refuse(std::string(kind_name(callable.kind)), "a name to rebuild from");
    if (arguments.kind != PickleKind::tuple) refuse(std::string(kind_name(arguments.kind)), "a tuple of arguments");
    const std::vector<PickleValue>& parts = items(arguments);
    switch (callable.global) {
      case PickleGlobal::ordered_dict:
        if (!parts.empty()) refuse("an OrderedDict with arguments", "one without");
        return push_compound(PickleKind::dict, {});
      case PickleGlobal::rebuild_tensor:
        return rebuild_tensor(parts);
      case PickleGlobal::rebuild_parameter:
        if (parts.size() != 3 || parts[0].kind != PickleKind::tensor || parts[1].kind != PickleKind::boolean ||
            parts[2].kind != PickleKind::dict)
          refuse("other arguments of _rebuild_parameter", "(tensor, requires_grad, hooks)");
        return push(parts[0]);
      case PickleGlobal::storage:
        break;
    }
    refuse("a call of a storage class", "none");
  }

  [[nodiscard]] std::vector<std::int64_t> extents(const PickleValue& value, const std::string& what) const {
    if (value.kind != PickleKind::tuple) refuse(what + " that is " + std::string(kind_name(value.kind)), "a tuple");
    std::vector<std::int64_t> result;
    if (items(value).size() > max_stored_rank)
      refuse(std::to_string(items(value).size()) + " dimensions", "at most " + std::to_string(max_stored_rank));
    for (const PickleValue& item : items(value)) {
      if (item.kind != PickleKind::integer) refuse(what + " with " + std::string(kind_name(item.kind)), "integers");
      if (item.integer < 0) refuse(what + " with " + std::to_string(item.integer), "integers >= 0");
      result.push_back(item.integer);
    }
    return result;
  }

  /// (storage, offset, size, stride, requires_grad, hooks[, metadata])
  void rebuild_tensor(const std::vector<PickleValue>& parts) {
    if (parts.size() != 6 && parts.size() != 7)
      refuse("_rebuild_tensor_v2 with " + std::to_string(parts.size()) + " arguments", "6 or 7");
    const bool well_formed =
        parts[0].kind == PickleKind::storage && parts[1].kind == PickleKind::integer &&
        parts[4].kind == PickleKind::boolean && parts[5].kind == PickleKind::dict &&
        (parts.size() == 6 || parts[6].kind == PickleKind::dict || parts[6].kind == PickleKind::none);
    if (!well_formed)
      refuse("other arguments of _rebuild_tensor_v2", "(storage, offset, size, stride, requires_grad, hooks)");
    PickledTensor tensor{.storage = parts[0].index,
                         .offset = parts[1].integer,
                         .shape = extents(parts[2], "a size"),
                         .strides = extents(parts[3], "a stride")};
    if (tensor.shape.size() != tensor.strides.size())
      refuse(std::to_string(tensor.strides.size()) + " strides", std::to_string(tensor.shape.size()));
    check_range(tensor);
    if (tensors_.size() == max_compounds) refuse("too many tensors", "fewer");
    const auto index = static_cast<std::uint32_t>(tensors_.size());
    tensors_.push_back(std::move(tensor));
    push({.kind = PickleKind::tensor, .index = index});
  }

  /// Every element of the tensor must lie in its storage.
  void check_range(const PickledTensor& tensor) const {
    const PickledStorage& storage = storages_[tensor.storage];
    if (!byte_count(tensor.shape, storage.dtype) || !byte_count({storage.elements}, storage.dtype))
      refuse("size " + shape_text(tensor.shape) + " of a storage of " + std::to_string(storage.elements) + " elements",
             "fewer than 2^63 bytes");
    if (tensor.offset < 0) refuse("offset " + std::to_string(tensor.offset), "at least 0");
    std::int64_t last = tensor.offset;
    bool overflow = false;
    const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
    for (std::size_t i = 0; i < tensor.shape.size() && !empty; ++i) {
      std::int64_t step = 0;
      overflow = overflow || __builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &step) ||
                 __builtin_add_overflow(last, step, &last);
    }
    const bool inside = empty ? last <= storage.elements : last < storage.elements;
    if (overflow || !inside)
      refuse("size " + shape_text(tensor.shape) + ", stride " + shape_text(tensor.strides) + ", offset " +
                 std::to_string(tensor.offset),
             "a tensor inside its storage of " + std::to_string(storage.elements) + " elements");
  }

  /// Attributes of an OrderedDict (modules leave `_metadata` there) are read and dropped.
  void build() {
    const PickleValue state = pop();
    static_cast<void>(top(PickleKind::dict));
    if (state.kind != PickleKind::dict) refuse(std::string(kind_name(state.kind)), "a dict of attributes");
  }

  std::string_view pickle_;
  const std::string& file_;
  std::size_t at_ = 0;
  std::size_t instruction_ = 0;
  std::size_t instructions_ = 0;
  bool stopped_ = false;
  std::vector<PickleValue> stack_;
  std::unordered_map<std::uint32_t, PickleValue> memo_;
  std::deque<std::vector<PickleValue>> compounds_;
  std::deque<PickledStorage> storages_;
  std::deque<PickledTensor> tensors_;
};

/// The dict that holds the tensors: the pickled value itself, or its entry `state_dict`, `model` or `module` (the first
/// of these that is a dict) when no entry of it is a tensor, as training programs save.
[[nodiscard]] inline PickleValue find_state_dict(const TorchUnpickler& reader, const PickleValue& root,
                                                 std::vector<std::string>& warnings) {
  const std::vector<PickleValue>& items = reader.items(root);
  for (std::size_t i = 1; i < items.size(); i += 2)
    if (items[i].kind == PickleKind::tensor) return root;
  for (const std::string_view name : {"state_dict", "model", "module"}) {
    for (std::size_t i = 0; i < items.size(); i += 2) {
      if (items[i].kind != PickleKind::string || reader.text(items[i]) != name || items[i + 1].kind != PickleKind::dict)
        continue;
      if (items.size() > 2)
        warnings.push_back("took the tensors of entry " + quoted(name) + "; " + std::to_string(items.size() / 2 - 1) +
                           " other entries were left out");
      return items[i + 1];
    }
  }
  return root;
}

}  // namespace detail

/// Reads the `data.pkl` of a torch archive: a state dict of dense tensors, at the top or under `state_dict`, `model` or
/// `module`. No code of the pickle runs; anything that a state dict does not need is refused by name. `file` names the
/// archive in messages. Throws FormatError, LimitError.
[[nodiscard]] inline TorchStateDict parse_torch_pickle(std::string_view pickle, const std::string& file) {
  detail::TorchUnpickler reader(pickle, file);
  const detail::PickleValue root = reader.run();
  if (root.kind != detail::PickleKind::dict)
    throw FormatError(file, "data.pkl", found_expected(detail::kind_name(root.kind), "a state dict"));
  TorchStateDict result;
  const std::vector<detail::PickleValue>& items = reader.items(detail::find_state_dict(reader, root, result.warnings));
  FileDefects defects(file);
  for (std::size_t i = 0; i < items.size(); i += 2) {
    const detail::PickleValue& key = items[i];
    const detail::PickleValue& value = items[i + 1];
    if (key.kind != detail::PickleKind::string) {
      defects.add("data.pkl", found_expected("a key that is " + std::string(detail::kind_name(key.kind)), "a name"));
      continue;
    }
    const std::string_view name = reader.text(key);
    if (value.kind != detail::PickleKind::tensor) {
      defects.add("entry " + quoted(name), found_expected(detail::kind_name(value.kind), "a tensor"));
      continue;
    }
    const detail::PickledTensor& tensor = reader.tensor(value);
    const detail::PickledStorage& storage = reader.storage(tensor);
    result.tensors.push_back({.name = std::string(name),
                              .dtype = storage.dtype,
                              .storage = std::string(storage.key),
                              .storage_elements = storage.elements,
                              .offset = tensor.offset,
                              .shape = tensor.shape,
                              .strides = tensor.strides});
  }
  defects.throw_if_any();
  std::vector<const std::string*> names;
  for (const TorchTensor& tensor : result.tensors) names.push_back(&tensor.name);
  std::sort(names.begin(), names.end(), [](const std::string* a, const std::string* b) { return *a < *b; });
  for (std::size_t i = 1; i < names.size(); ++i)
    if (*names[i] == *names[i - 1] && (i < 2 || *names[i] != *names[i - 2]))
      defects.add("tensor " + quoted(*names[i]), found_expected("the name twice", "once"));
  defects.throw_if_any();
  return result;
}

}  // namespace lisa
