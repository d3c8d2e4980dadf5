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
#include "lisa/files/pickle_machine.hpp"

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

/// Names that a state dict may refer to. None of them is ever called: the first three stand for the shape of what
/// follows, the storages for element types.
enum class PickleGlobal : std::uint8_t { ordered_dict, rebuild_tensor, rebuild_parameter, storage };

/// What torch's own writer uses, and bounds far beyond the pickles of large models.
inline constexpr PickleRules torch_pickle_rules{.place = "data.pkl",
                                                .writer = "torch.save",
                                                .instructions = 4'000'000,
                                                .stack = 1'000'000,
                                                .compounds = 1'000'000,
                                                .memo = 500'000};

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

/// The instructions with which torch describes tensors: names, storages and how a tensor is put together from them.
/// Nothing of it is called: names stand for the shape of what follows.
class TorchDialect {
 public:
  using Machine = PickleMachine<TorchDialect>;

  bool execute(std::uint8_t code, Machine& machine) {
    if (machine.at_start() && code != 0x80) machine.refuse("no protocol mark", "a pickle of protocol 2");
    switch (code) {
      case 0x80:
        protocol(machine);
        return true;
      case 'c':
        global(machine);
        return true;
      case 'R':
        reduce(machine);
        return true;
      case 'b':
        build(machine);
        return true;
      case 'Q':
        persistent_id(machine);
        return true;
      default:
        return false;
    }
  }

  [[nodiscard]] const PickledTensor& tensor(const PickleValue& value) const { return tensors_[value.index]; }
  [[nodiscard]] const PickledStorage& storage(const PickledTensor& tensor) const { return storages_[tensor.storage]; }

 private:
  static constexpr std::size_t max_objects = 1'000'000;

  static void protocol(Machine& machine) {
    const int version = machine.take<std::uint8_t>();
    if (!machine.at_start() || version != 2)
      machine.refuse("pickle protocol " + std::to_string(version), "protocol 2, once, as torch.save writes");
  }

  [[nodiscard]] static constexpr std::uint8_t name_number(PickleGlobal global) {
    return static_cast<std::uint8_t>(global);
  }
  [[nodiscard]] static constexpr PickleGlobal global_of(const PickleValue& value) {
    return static_cast<PickleGlobal>(value.name);
  }

  static void global(Machine& machine) {
    const std::string_view module = machine.take_line();
    const std::string_view name = machine.take_line();
    PickleValue value{.kind = PickleKind::global};
    if (module == "collections" && name == "OrderedDict") {
      value.name = name_number(PickleGlobal::ordered_dict);
      return machine.push(value);
    }
    if (module == "torch._utils" && name == "_rebuild_tensor_v2") {
      value.name = name_number(PickleGlobal::rebuild_tensor);
      return machine.push(value);
    }
    if (module == "torch._utils" && name == "_rebuild_parameter") {
      value.name = name_number(PickleGlobal::rebuild_parameter);
      return machine.push(value);
    }
    if (module == "torch") {
      for (const StoredDtypeInfo& type : stored_dtypes) {
        if (type.torch_storage != name) continue;
        value.name = name_number(PickleGlobal::storage);
        value.type = static_cast<std::uint8_t>(type.dtype);
        return machine.push(value);
      }
    }
    machine.refuse("a reference to " + quoted(std::string(module) + " " + std::string(name)),
                   "only names that dense tensors of a state dict need (collections OrderedDict, torch._utils "
                   "_rebuild_tensor_v2 and _rebuild_parameter, torch ...Storage); nothing was executed");
  }

  /// ("storage", torch.XStorage, key, location, elements)
  void persistent_id(Machine& machine) {
    const PickleValue value = machine.pop();
    if (value.kind != PickleKind::tuple)
      machine.refuse(std::string(kind_name(value.kind)), "a storage reference (a tuple)");
    const std::vector<PickleValue>& parts = machine.items(value);
    const bool well_formed = parts.size() == 5 && parts[0].kind == PickleKind::string &&
                             machine.text(parts[0]) == "storage" && parts[1].kind == PickleKind::global &&
                             global_of(parts[1]) == PickleGlobal::storage && parts[2].kind == PickleKind::string &&
                             parts[3].kind == PickleKind::string && parts[4].kind == PickleKind::integer &&
                             parts[4].integer >= 0;
    if (!well_formed)
      machine.refuse("another storage reference", "(\"storage\", torch ...Storage, key, location, number of elements)");
    if (storages_.size() == max_objects) machine.refuse("too many storage references", "fewer");
    const auto index = static_cast<std::uint32_t>(storages_.size());
    storages_.push_back({static_cast<StoredDtype>(parts[1].type), machine.text(parts[2]), parts[4].integer});
    machine.push({.kind = PickleKind::storage, .index = index});
  }

  void reduce(Machine& machine) {
    const PickleValue arguments = machine.pop();
    const PickleValue callable = machine.pop();
    if (callable.kind != PickleKind::global)
      machine.refuse(std::string(kind_name(callable.kind)), "a name to rebuild from");
    if (arguments.kind != PickleKind::tuple)
      machine.refuse(std::string(kind_name(arguments.kind)), "a tuple of arguments");
    const std::vector<PickleValue>& parts = machine.items(arguments);
    switch (global_of(callable)) {
      case PickleGlobal::ordered_dict:
        if (!parts.empty()) machine.refuse("an OrderedDict with arguments", "one without");
        return machine.push_compound(PickleKind::dict, {});
      case PickleGlobal::rebuild_tensor:
        return rebuild_tensor(machine, parts);
      case PickleGlobal::rebuild_parameter:
        if (parts.size() != 3 || parts[0].kind != PickleKind::tensor || parts[1].kind != PickleKind::boolean ||
            parts[2].kind != PickleKind::dict)
          machine.refuse("other arguments of _rebuild_parameter", "(tensor, requires_grad, hooks)");
        return machine.push(parts[0]);
      case PickleGlobal::storage:
        break;
    }
    machine.refuse("a call of a storage class", "none");
  }

  [[nodiscard]] static std::vector<std::int64_t> extents(const Machine& machine, const PickleValue& value,
                                                         const std::string& what) {
    if (value.kind != PickleKind::tuple)
      machine.refuse(what + " that is " + std::string(kind_name(value.kind)), "a tuple");
    std::vector<std::int64_t> result;
    if (machine.items(value).size() > max_stored_rank)
      machine.refuse(std::to_string(machine.items(value).size()) + " dimensions",
                     "at most " + std::to_string(max_stored_rank));
    for (const PickleValue& item : machine.items(value)) {
      if (item.kind != PickleKind::integer)
        machine.refuse(what + " with " + std::string(kind_name(item.kind)), "integers");
      if (item.integer < 0) machine.refuse(what + " with " + std::to_string(item.integer), "integers >= 0");
      result.push_back(item.integer);
    }
    return result;
  }

  /// (storage, offset, size, stride, requires_grad, hooks[, metadata])
  void rebuild_tensor(Machine& machine, const std::vector<PickleValue>& parts) {
    if (parts.size() != 6 && parts.size() != 7)
      machine.refuse("_rebuild_tensor_v2 with " + std::to_string(parts.size()) + " arguments", "6 or 7");
    const bool well_formed =
        parts[0].kind == PickleKind::storage && parts[1].kind == PickleKind::integer &&
        parts[4].kind == PickleKind::boolean && parts[5].kind == PickleKind::dict &&
        (parts.size() == 6 || parts[6].kind == PickleKind::dict || parts[6].kind == PickleKind::none);
    if (!well_formed)
      machine.refuse("other arguments of _rebuild_tensor_v2", "(storage, offset, size, stride, requires_grad, hooks)");
    PickledTensor tensor{.storage = parts[0].index,
                         .offset = parts[1].integer,
                         .shape = extents(machine, parts[2], "a size"),
                         .strides = extents(machine, parts[3], "a stride")};
    if (tensor.shape.size() != tensor.strides.size())
      machine.refuse(std::to_string(tensor.strides.size()) + " strides", std::to_string(tensor.shape.size()));
    check_range(machine, tensor);
    if (tensors_.size() == max_objects) machine.refuse("too many tensors", "fewer");
    const auto index = static_cast<std::uint32_t>(tensors_.size());
    tensors_.push_back(std::move(tensor));
    machine.push({.kind = PickleKind::tensor, .index = index});
  }

  /// Every element of the tensor must lie in its storage.
  void check_range(const Machine& machine, const PickledTensor& tensor) const {
    const PickledStorage& storage = storages_[tensor.storage];
    if (!byte_count(tensor.shape, storage.dtype) || !byte_count({storage.elements}, storage.dtype))
      machine.refuse(
          "size " + shape_text(tensor.shape) + " of a storage of " + std::to_string(storage.elements) + " elements",
          "fewer than 2^63 bytes");
    if (tensor.offset < 0) machine.refuse("offset " + std::to_string(tensor.offset), "at least 0");
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
      machine.refuse("size " + shape_text(tensor.shape) + ", stride " + shape_text(tensor.strides) + ", offset " +
                         std::to_string(tensor.offset),
                     "a tensor inside its storage of " + std::to_string(storage.elements) + " elements");
  }

  /// Attributes of an OrderedDict (modules leave `_metadata` there) are read and dropped.
  static void build(Machine& machine) {
    const PickleValue state = machine.pop();
    static_cast<void>(machine.top(PickleKind::dict));
    if (state.kind != PickleKind::dict) machine.refuse(std::string(kind_name(state.kind)), "a dict of attributes");
  }

  std::deque<PickledStorage> storages_;
  std::deque<PickledTensor> tensors_;
};

/// The dict that holds the tensors: the pickled value itself, or its entry `state_dict`, `model` or `module` (the first
/// of these that is a dict) when no entry of it is a tensor, as training programs save.
[[nodiscard]] inline PickleValue find_state_dict(const TorchDialect::Machine& reader, const PickleValue& root,
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
  if (pickle.size() > max_torch_pickle)
    throw LimitError(
        file, "data.pkl",
        found_expected(std::to_string(pickle.size()) + " bytes", "at most " + std::to_string(max_torch_pickle)));
  if (pickle.size() < 2) throw FormatError(file, "data.pkl", "found an empty pickle, expected one of protocol 2");
  detail::TorchDialect dialect;
  detail::TorchDialect::Machine reader(pickle, file, detail::torch_pickle_rules, dialect);
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
    const detail::PickledTensor& tensor = dialect.tensor(value);
    const detail::PickledStorage& storage = dialect.storage(tensor);
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
