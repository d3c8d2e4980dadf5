#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/lower_case.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/tensor_file.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// What an index file (`*.index.json`) of a sharded checkpoint says.
struct ShardIndex {
  std::string file;                             ///< the index, as shown in messages
  std::map<std::string, std::string> shard_of;  ///< tensor name -> file name in the same folder
  std::optional<std::uint64_t> total_size;      ///< bytes of all tensors, as the index states them
};

namespace detail {

/// The two numbers of `name-00002-of-00005.ext`, if it is named so.
struct ShardNumber {
  std::uint64_t number = 0;
  std::uint64_t count = 0;
};

[[nodiscard]] inline std::optional<ShardNumber> shard_number(std::string_view name) {
  const std::size_t of = name.rfind("-of-");
  if (of == std::string_view::npos) return std::nullopt;
  const std::size_t dash = name.substr(0, of).rfind('-');
  const std::size_t dot = name.find('.', of);
  if (dash == std::string_view::npos || dot == std::string_view::npos) return std::nullopt;
  ShardNumber shard;
  const auto parse = [](std::string_view digits, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  if (!parse(name.substr(dash + 1, of - dash - 1), shard.number) ||
      !parse(name.substr(of + 4, dot - of - 4), shard.count))
    return std::nullopt;
  return shard;
}

/// A shard is named by a plain file name: anything else could reach out of the checkpoint's folder.
[[nodiscard]] inline bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\\') == std::string::npos && name.find('\0') == std::string::npos && name.size() <= 255;
}

[[nodiscard]] inline Json read_index_json(const std::filesystem::path& path) {
  const MappedFile file(path);
  if (const std::optional<std::string> foreign = foreign_content(file.text()))
    throw FormatError(file.name(), "", found_expected(*foreign, "an index in JSON"));
  Json json = parse_json(file.text(), file.name());
  file.require_intact();
  return json;
}

inline void check_shard_names(const ShardIndex& index, FileDefects& defects) {
  std::map<std::string, std::string> shards;  // lower case -> as written
  std::map<std::string, std::string> tensors;
  std::optional<std::pair<std::string, std::uint64_t>> count;
  for (const auto& [tensor, shard] : index.shard_of) {
    const std::string place = "weight_map." + printable(tensor);
    if (const auto [other, fresh] = tensors.emplace(lower_case(tensor), tensor); !fresh)
      defects.add(place, found_expected("a name that differs from " + quoted(other->second) + " in case only", "one"));
    const auto [written, fresh] = shards.emplace(lower_case(shard), shard);
    if (!fresh) {
      if (written->second != shard)
        defects.add(
            place, found_expected("file name " + quoted(shard) + " beside " + quoted(written->second), "one spelling"));
      continue;
    }
    if (!is_plain_file_name(shard)) {
      defects.add(place, found_expected(quoted(shard), "the name of a file in the checkpoint's folder"));
      continue;
    }
    const std::optional<ShardNumber> number = shard_number(shard);
    if (!number) continue;
    if (number->number == 0 || number->number > number->count)
      defects.add(place,
                  found_expected("shard " + quoted(shard), "a number from 1 to " + std::to_string(number->count)));
    if (!count) count.emplace(shard, number->count);
    if (count->second != number->count)
      defects.add(place,
                  found_expected("shard " + quoted(shard) + " beside " + quoted(count->first), "one number of shards"));
  }
}

}  // namespace detail

/// Reads an index file and checks its shard names: plain names of files in the index's folder, numbered consistently.
/// Throws IoError, FormatError, LimitError.
[[nodiscard]] inline ShardIndex read_shard_index(const std::filesystem::path& path) {
  ShardIndex index{.file = shown_path(path), .shard_of = {}, .total_size = {}};
  const Json json = detail::read_index_json(path);
  FileDefects defects(index.file);
  if (!json.is_object()) throw FormatError(index.file, "", found_expected(json.type_name(), "an object"));
  const auto map = json.find("weight_map");
  if (map == json.end()) throw FormatError(index.file, "weight_map", "found no such field, expected one");
  if (!map->is_object()) throw FormatError(index.file, "weight_map", found_expected(map->type_name(), "an object"));
  for (const auto& [tensor, shard] : map->items()) {
    if (shard.is_string())
      index.shard_of.emplace(tensor, shard.get_ref<const std::string&>());
    else
      defects.add("weight_map." + printable(tensor),
                  found_expected(printable(shard.dump(), 40) + " (" + shard.type_name() + ")", "a file name"));
  }
  defects.throw_if_any();
  if (index.shard_of.empty()) throw FormatError(index.file, "weight_map", found_expected("no tensors", "at least one"));
  detail::check_shard_names(index, defects);
  defects.throw_if_any();
  if (const auto metadata = json.find("metadata"); metadata != json.end() && metadata->is_object())
    if (const auto total = metadata->find("total_size"); total != metadata->end() && total->is_number_unsigned())
      index.total_size = total->get<std::uint64_t>();
  return index;
}

/// File names under which a checkpoint folder holds its tensors, the preferred first. As transformers chooses:
/// safetensors before torch archives, a whole file before shards; an adapter only when nothing else is there.
inline constexpr std::array<std::string_view, 8> checkpoint_file_names{"model.safetensors",
                                                                       "model.safetensors.index.json",
                                                                       "pytorch_model.bin",
                                                                       "pytorch_model.bin.index.json",
                                                                       "adapter_model.safetensors",
                                                                       "adapter_model.bin",
                                                                       "model.pth",
                                                                       "model.bin"};

/// The tensor files of a checkpoint, all open, and what the user should know about the choice.
struct CheckpointContent {
  std::vector<TensorFile> files;
  std::vector<std::string> warnings;
};

namespace detail {

/// The real path of `folder/name`. It must lie in the folder, or be a blob of the Hugging Face cache that the folder is
/// a snapshot of (there, every file is a link into `../../blobs`).
[[nodiscard]] inline std::filesystem::path confined_path(const std::filesystem::path& folder, const std::string& name) {
  namespace fs = std::filesystem;
  const fs::path path = folder / name;
  std::error_code error;
  const fs::path real_folder = fs::canonical(folder, error);
  if (error) throw IoError(shown_path(folder), "", "cannot open: " + error.message());
  const fs::path real = fs::canonical(path, error);
  if (error) throw IoError(shown_path(path), "", "cannot open: " + error.message());
  const bool inside = real.parent_path() == real_folder;
  const bool hub_cache = real_folder.parent_path().filename() == "snapshots" &&
                         real.parent_path() == real_folder.parent_path().parent_path() / "blobs";
  if (!inside && !hub_cache)
    throw FormatError(
        shown_path(path), "",
        found_expected("a link to " + quoted(real.string(), 400), "a file inside the checkpoint's folder"));
  return path;
}

/// Every tensor in the shard that the index names, and in no other.
inline void check_shard_contents(const ShardIndex& index, const std::map<std::string, std::size_t>& file_of_shard,
                                 CheckpointContent& content) {
  FileDefects defects(index.file);
  std::map<std::string_view, std::vector<std::size_t>> found;
  for (std::size_t i = 0; i < content.files.size(); ++i)
    for (const StoredTensor& tensor : content.files[i].tensors) found[tensor.name].push_back(i);
  for (const auto& [tensor, shard] : index.shard_of) {
    const auto files = found.find(tensor);
    const std::size_t expected = file_of_shard.at(shard);
    if (files == found.end() || std::find(files->second.begin(), files->second.end(), expected) == files->second.end())
      defects.add("weight_map." + printable(tensor),
                  found_expected("no such tensor in " + content.files[expected].file->name(), "one"));
  }
  std::size_t unlisted = 0;
  for (const auto& [tensor, files] : found) {
    if (files.size() > 1)
      defects.add(tensor_place(tensor), found_expected("it in " + content.files[files[0]].file->name() + " and in " +
                                                           content.files[files[1]].file->name(),
                                                       "it in one shard"));
    if (!index.shard_of.contains(std::string(tensor))) ++unlisted;
  }
  defects.throw_if_any();
  if (unlisted > 0)
    content.warnings.push_back(index.file + ": the shards hold " + std::to_string(unlisted) +
                               " tensors that the index does not list; they were read too");
}

inline void check_total_size(const ShardIndex& index, CheckpointContent& content) {
  std::uint64_t bytes = 0;
  for (const TensorFile& file : content.files)
    for (const StoredTensor& tensor : file.tensors) bytes += byte_count(tensor.shape, tensor.dtype).value_or(0);
  if (index.total_size && *index.total_size != bytes)
    content.warnings.push_back(index.file + ": metadata.total_size: found " + std::to_string(*index.total_size) +
                               ", expected " + std::to_string(bytes) + ", the bytes of the tensors in the shards");
}

/// Files that look like shards of the same checkpoint but are not in the index.
inline void report_unlisted_shards(const std::filesystem::path& folder, const ShardIndex& index,
                                   const std::map<std::string, std::size_t>& file_of_shard,
                                   CheckpointContent& content) {
  const std::string first = file_of_shard.begin()->first;
  const auto pattern = [](const std::string& name) {
    const std::size_t of = name.rfind("-of-");
    return std::pair(name.substr(0, name.substr(0, of).rfind('-')),
                     name.substr(std::min(name.find('.', of), name.size())));
  };
  if (!shard_number(first)) return;
  std::vector<std::string> unlisted;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (shard_number(name) && pattern(name) == pattern(first) && !file_of_shard.contains(name))
      unlisted.push_back(name);
  }
  std::sort(unlisted.begin(), unlisted.end());
  for (const std::string& name : unlisted)
    content.warnings.push_back(shown_path(folder / name) + ": not listed in " + index.file + "; it was not read");
}

[[nodiscard]] inline CheckpointContent open_shards(const std::filesystem::path& folder, const std::string& index_name,
                                                   const TensorFileOptions& options) {
  const ShardIndex index = read_shard_index(confined_path(folder, index_name));
  CheckpointContent content;
  std::map<std::string, std::size_t> file_of_shard;
  for (const auto& [tensor, shard] : index.shard_of) file_of_shard.emplace(shard, 0);
  FileDefects missing(index.file);
  for (const auto& [shard, unused] : file_of_shard)
    if (std::error_code error;
        std::filesystem::symlink_status(folder / shard, error).type() == std::filesystem::file_type::not_found)
      missing.add("shard " + quoted(shard), "found no such file in the checkpoint's folder, expected one");
  missing.throw_if_any();
  for (auto& [shard, number] : file_of_shard) {
    number = content.files.size();
    content.files.push_back(open_tensor_file(confined_path(folder, shard), options));
  }
  check_shard_contents(index, file_of_shard, content);
  check_total_size(index, content);
  report_unlisted_shards(folder, index, file_of_shard, content);
  return content;
}

}  // namespace detail

/// Names of the checkpoint files that a folder holds, in the order of preference (`checkpoint_file_names`). Throws
/// IoError when the folder may not be looked into.
[[nodiscard]] inline std::vector<std::string> find_checkpoint_files(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const std::string_view name : checkpoint_file_names) {
    std::error_code error;
    const auto status = std::filesystem::symlink_status(folder / name, error);
    if (status.type() == std::filesystem::file_type::not_found) continue;
    if (error) throw IoError(shown_path(folder / name), "", "cannot look for it: " + error.message());
    names.emplace_back(name);
  }
  return names;
}

/// Opens the tensors of a checkpoint: one file, an index with its shards, or a folder that holds any of these (the
/// first of `checkpoint_file_names` is taken; a warning names the others). Data is mapped, not read, except for CRC
/// checks. Throws IoError, FormatError, LimitError.
[[nodiscard]] inline CheckpointContent open_checkpoint(const std::filesystem::path& path,
                                                       const TensorFileOptions& options = {}) {
  std::error_code error;
  std::filesystem::path folder = path;
  std::vector<std::string> names;
  if (std::filesystem::is_directory(path, error)) {
    names = find_checkpoint_files(path);
    if (names.empty())
      throw IoError(shown_path(path), "",
                    "found no checkpoint file in this folder, expected model.safetensors, pytorch_model.bin, one of "
                    "their .index.json, adapter_model.safetensors or adapter_model.bin");
  } else if (path.filename().string().ends_with(".index.json")) {
    folder = path.has_parent_path() ? path.parent_path() : ".";
    names = {path.filename().string()};
  }
  CheckpointContent content;
  if (names.empty()) {
    content.files.push_back(open_tensor_file(path, options));
  } else if (names.front().ends_with(".index.json")) {
    content = detail::open_shards(folder, names.front(), options);
  } else {
    content.files.push_back(open_tensor_file(detail::confined_path(folder, names.front()), options));
  }
  for (std::size_t i = 1; i < names.size(); ++i)
    content.warnings.push_back(shown_path(folder / names[i]) + ": not read, " + names.front() + " is preferred");
  for (const TensorFile& file : content.files)
    content.warnings.insert(content.warnings.end(), file.warnings.begin(), file.warnings.end());
  return content;
}

}  // namespace lisa
