#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/safetensors_writer.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/checkpoint/tensor_file.hpp"
#include "lisa/checkpoint/tensor_view.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/crc32c.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_fields.hpp"
#include "lisa/train/train_state.hpp"

namespace lisa {

/// Version of the layout that `write_train_state` writes.
inline constexpr std::int64_t train_state_version = 1;
/// The file that says what a folder holds; it is written last.
inline constexpr const char* train_state_manifest = "manifest.json";

namespace detail {

/// Whether a group's name makes a plain file name.
[[nodiscard]] inline bool is_group_name(std::string_view name) {
  return !name.empty() && name.size() < 64 &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789") == std::string_view::npos;
}

[[nodiscard]] inline std::string group_file(const std::string& group) { return group + ".safetensors"; }

/// Writes one group and gives its entry of the manifest, with a checksum for each tensor.
[[nodiscard]] inline Json write_group(const std::filesystem::path& folder, const std::string& group,
                                      const NamedTensors& tensors) {
  if (!is_group_name(group))
    throw InputError(shown_path(folder), "tensor group",
                     found_expected(quoted(group), "lower-case letters, digits and underscores"));
  const std::vector<StoredTensor> stored = describe_all(tensors);
  std::map<std::string, std::uint32_t> sums;
  const TensorProducer produce = produce_from(tensors);
  AtomicFile file =
      stage_safetensors(folder / group_file(group), stored, {}, [&](const StoredTensor& tensor, const ByteSink& sink) {
        std::uint32_t& sum = sums[tensor.name];
        produce(tensor, [&](std::span<const std::byte> bytes) {
          sum = crc32c(bytes, sum);
          sink(bytes);
        });
      });
  Json entry = {{"group", group}, {"bytes", file.size()}, {"tensors", Json::array()}};
  for (const StoredTensor& tensor : stored)
    entry["tensors"].push_back({{"name", tensor.name},
                                {"dtype", info(tensor.dtype).safetensors_name},
                                {"shape", tensor.shape},
                                {"crc32c", sums[tensor.name]}});
  file.commit();
  return entry;
}

/// Numbers of a state, without its tensors.
[[nodiscard]] inline Json state_numbers(const TrainState& state) {
  const auto or_null = [](const std::optional<double>& value) { return value ? Json(*value) : Json(); };
  return {{"format", "lisa training state"},
          {"version", train_state_version},
          {"step", state.step},
          {"epoch", state.epoch},
          {"sample_index", state.sample_index},
          {"accumulation_phase", state.accumulation_phase},
          {"scheduler_position", state.scheduler_position},
          {"score", or_null(state.score)},
          {"best_score", or_null(state.best_score)},
          {"seeds", Json(state.seeds)},
          {"run", state.run}};
}

/// The manifest's content with its checksum verified.
[[nodiscard]] inline Json read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / train_state_manifest;
  const Json manifest = read_json(path);
  const std::string file = shown_path(path);
  if (!manifest.is_object() || !manifest.contains("state") || !manifest["state"].is_object() ||
      !manifest.contains("crc32c") || !manifest["crc32c"].is_number_unsigned())
    throw FormatError(file, "", "found no \"state\" with its \"crc32c\", expected a training state's manifest");
  const Json& state = manifest["state"];
  Defects defects;
  JsonFields fields(state, defects);
  const std::optional<std::int64_t> version = fields.integer("version", 1, std::numeric_limits<std::int64_t>::max());
  // Before the checksum: a later version may define it differently.
  if (version.value_or(1) > train_state_version)
    throw MismatchError(file, "version",
                        found_expected(std::to_string(*version), "at most " + std::to_string(train_state_version) +
                                                                     " (a newer program wrote it)"));
  const std::uint32_t sum = crc32c(state.dump());
  if (manifest["crc32c"].get<std::uint64_t>() != sum)
    throw FormatError(file, "crc32c",
                      found_expected(std::to_string(sum) + " for this content", manifest["crc32c"].dump()));
  return state;
}

/// A state's numbers from a verified manifest. Throws FormatError with every field that is missing or wrong.
[[nodiscard]] inline TrainState parse_numbers(const Json& manifest, const std::string& file) {
  Defects defects;
  JsonFields fields(manifest, defects);
  TrainState state;
  const auto count = [&](const char* name, std::int64_t& value) {
    fields.require(name, "a whole number");
    value = fields.integer(name, 0, std::numeric_limits<std::int64_t>::max()).value_or(0);
  };
  count("step", state.step);
  count("epoch", state.epoch);
  count("sample_index", state.sample_index);
  count("accumulation_phase", state.accumulation_phase);
  count("scheduler_position", state.scheduler_position);
  constexpr double most = std::numeric_limits<double>::max();
  state.score = fields.number("score", -most, most);
  state.best_score = fields.number("best_score", -most, most);
  for (const char* const name : {"seeds", "run", "files"}) fields.require(name, "a value");
  if (const Json* seeds = fields.find("seeds"); seeds != nullptr) {
    JsonFields of_seeds(*seeds, defects, "seeds.");
    for (const auto& [name, seed] : seeds->items()) {
      if (seed.is_number_unsigned())
        state.seeds.emplace(name, seed.get<std::uint64_t>());
      else
        of_seeds.wrong(name, seed, "a whole number");
    }
  }
  if (const Json* run = fields.find("run"); run != nullptr) {
    if (run->is_object())
      state.run = *run;
    else
      fields.wrong("run", *run, "an object");
  }
  if (!defects.empty()) throw FormatError(file, "", defects.report("defects"));
  return state;
}

/// A tensor as a manifest lists it.
struct ListedTensor {
  StoredTensor stored;
  std::uint32_t sum = 0;
};

/// A group of tensors as a manifest lists it.
struct ListedGroup {
  std::string name;
  std::uint64_t bytes = 0;
  std::vector<ListedTensor> tensors;
};

/// Throws FormatError for an entry that `write_group` does not write.
[[nodiscard]] inline ListedGroup parse_group(const Json& entry, const std::string& file) {
  try {
    ListedGroup group{
        .name = entry.at("group").get<std::string>(), .bytes = entry.at("bytes").get<std::uint64_t>(), .tensors = {}};
    if (!is_group_name(group.name))
      throw FormatError(file, "files",
                        found_expected("group " + quoted(group.name), "lower-case letters, digits and underscores"));
    for (const Json& tensor : entry.at("tensors")) {
      const std::string dtype = tensor.at("dtype").get<std::string>();
      const auto* const known =
          std::find_if(stored_dtypes.begin(), stored_dtypes.end(),
                       [&](const StoredDtypeInfo& type) { return type.safetensors_name == dtype; });
      if (known == stored_dtypes.end())
        throw FormatError(file, "files", found_expected("dtype " + quoted(dtype), "a known one"));
      group.tensors.push_back({.stored = {.name = tensor.at("name").get<std::string>(),
                                          .dtype = known->dtype,
                                          .shape = tensor.at("shape").get<std::vector<std::int64_t>>()},
                               .sum = tensor.at("crc32c").get<std::uint32_t>()});
    }
    return group;
  } catch (const Json::exception& error) {
    throw FormatError(file, "files", json_complaint(error.what()));
  }
}

/// Opens a group's file and verifies it against the manifest: size, names, dtypes, shapes and every tensor's bytes.
[[nodiscard]] inline NamedTensors read_group(const std::filesystem::path& folder, const ListedGroup& group) {
  const TensorFile content = open_tensor_file(folder / group_file(group.name));
  FileDefects defects(content.file->name());
  if (content.file->size() != group.bytes)
    defects.add("size", found_expected(std::to_string(content.file->size()) + " bytes", std::to_string(group.bytes)));
  std::map<std::string, const StoredTensor*> by_name;
  for (const StoredTensor& tensor : content.tensors) by_name.emplace(tensor.name, &tensor);
  NamedTensors tensors;
  for (const ListedTensor& listed : group.tensors) {
    const auto found = by_name.extract(listed.stored.name);
    if (found.empty()) {
      defects.add(tensor_place(listed.stored.name), "missing, expected " + described(listed.stored));
      continue;
    }
    const StoredTensor& stored = *found.mapped();
    if (stored.dtype != listed.stored.dtype || stored.shape != listed.stored.shape) {
      defects.add(tensor_place(stored.name), found_expected(described(stored), described(listed.stored)));
      continue;
    }
    const std::uint32_t sum = crc32c(content.file->bytes().subspan(stored.begin, stored.end - stored.begin));
    if (sum != listed.sum)
      defects.add(tensor_place(stored.name),
                  found_expected("data with CRC-32C " + std::to_string(sum), std::to_string(listed.sum)));
    tensors.emplace_back(stored.name, tensor_view(content.file, stored));
  }
  for (const auto& [name, stored] : by_name) defects.add(tensor_place(name), "found it, expected no such tensor");
  content.file->require_intact();
  defects.throw_if_any();
  return tensors;
}

}  // namespace detail

/// Writes a state into an existing folder, one safetensors file per group, the manifest last; every file is on the
/// device when it gets its name. Numbers and tensors come back bit for bit.
/// Throws IoError, InputError.
inline void write_train_state(const std::filesystem::path& folder, const TrainState& state) {
  Json content = detail::state_numbers(state);
  content["files"] = Json::array();
  for (const auto& [group, tensors] : state.tensors)
    content["files"].push_back(detail::write_group(folder, group, tensors));
  std::string text;
  std::uint32_t sum = 0;
  try {
    sum = crc32c(content.dump());
    text = Json{{"state", std::move(content)}, {"crc32c", sum}}.dump(1);
  } catch (const Json::exception&) {
    throw InputError(shown_path(folder), "training state", "found text that is not UTF-8, expected UTF-8");
  }
  write_file(folder / train_state_manifest, text + "\n");
}

/// Numbers of the state in a folder, its tensors neither read nor verified. Throws IoError, FormatError, MismatchError.
[[nodiscard]] inline TrainState read_train_state_numbers(const std::filesystem::path& folder) {
  return detail::parse_numbers(detail::read_manifest(folder), shown_path(folder / train_state_manifest));
}

/// Reads a state and verifies every byte of it. The tensors are views of the mapped files, copied on write: what
/// happens to the files later does not change them, short of being shortened in place.
/// Throws IoError (a file is missing), FormatError (broken content), MismatchError (a later version).
[[nodiscard]] inline TrainState read_train_state(const std::filesystem::path& folder) {
  const Json manifest = detail::read_manifest(folder);
  const std::string file = shown_path(folder / train_state_manifest);
  TrainState state = detail::parse_numbers(manifest, file);
  for (const Json& entry : manifest.at("files")) {
    const detail::ListedGroup group = detail::parse_group(entry, file);
    if (!state.tensors.emplace(group.name, detail::read_group(folder, group)).second)
      throw FormatError(file, "files", found_expected("group " + quoted(group.name) + " twice", "once"));
  }
  return state;
}

}  // namespace lisa
