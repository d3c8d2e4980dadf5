#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/file_faults.hpp"
#include "tests/support/temp_dir.hpp"

namespace lisa::test {

/// A folder as a value: contents by path, nothing for folders.
using FolderImage = std::map<std::string, std::optional<std::string>>;

[[nodiscard]] inline FolderImage folder_image(const std::filesystem::path& folder) {
  FolderImage image{{folder.string(), std::nullopt}};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    image[entry.path().string()] = entry.is_directory() ? std::nullopt : std::optional(read_text(entry.path()));
  return image;
}

/// Makes a folder hold what the image says of it.
inline void materialise(const FolderImage& image, const std::filesystem::path& folder) {
  std::filesystem::remove_all(folder);
  for (const auto& [path, content] : image) {  // a folder's name comes before those below it
    if (content)
      write_text(path, *content);
    else
      std::filesystem::create_directory(path);
  }
}

namespace detail {

/// What an operation does to an image; nothing when what it needs is not there.
inline void apply(const FileOperation& operation, FolderImage& image) {
  using Kind = FileOperation::Kind;
  const std::string parent = std::filesystem::path(operation.path).parent_path().string();
  switch (operation.kind) {
    case Kind::sync:
      return;
    case Kind::create:
      if (image.contains(parent)) image.try_emplace(operation.path, std::string());
      return;
    case Kind::make_folder:
      if (image.contains(parent)) image.try_emplace(operation.path, std::nullopt);
      return;
    case Kind::write:
      if (const auto file = image.find(operation.path); file != image.end() && file->second)
        *file->second += operation.other;
      return;
    case Kind::remove:
      std::erase_if(image, [&](const auto& entry) {
        return entry.first == operation.path || entry.first.starts_with(operation.path + "/");
      });
      return;
    case Kind::rename:
      if (!image.contains(operation.path)) return;
      FolderImage moved;
      for (const auto& [path, content] : image)
        if (path == operation.path || path.starts_with(operation.path + "/"))
          moved[operation.other + path.substr(operation.path.size())] = content;
      apply({Kind::remove, operation.path}, image);
      apply({Kind::remove, operation.other}, image);
      image.merge(moved);
  }
}

/// Whether a later request brought an operation to the device: for bytes that of their file, for names that of their
/// folder.
[[nodiscard]] inline bool is_durable(const std::vector<FileOperation>& operations, std::size_t index, std::size_t end) {
  const FileOperation& operation = operations[index];
  const std::string wanted = operation.kind == FileOperation::Kind::write
                                 ? operation.path
                                 : std::filesystem::path(operation.path).parent_path().string();
  return std::any_of(
      operations.begin() + static_cast<std::ptrdiff_t>(index), operations.begin() + static_cast<std::ptrdiff_t>(end),
      [&](const FileOperation& later) { return later.kind == FileOperation::Kind::sync && later.path == wanted; });
}

}  // namespace detail

/// Visits every state in which a loss of power may leave the files: after any number of operations, with all of those
/// that were brought to the device and every subset of the others.
/// @param most_open  how many operations may be open at once; older ones count as written
/// @return how many states there were
inline int for_each_power_loss(const FolderImage& before, const std::vector<FileOperation>& operations,
                               const std::function<void(const FolderImage&)>& visit, std::ptrdiff_t most_open = 12) {
  int states = 0;
  for (std::size_t end = 0; end <= operations.size(); ++end) {
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < end; ++i)
      if (operations[i].kind != FileOperation::Kind::sync && !detail::is_durable(operations, i, end)) open.push_back(i);
    if (std::ssize(open) > most_open) open.erase(open.begin(), open.end() - most_open);
    for (std::uint32_t subset = 0; subset < (1U << open.size()); ++subset, ++states) {
      FolderImage image = before;
      for (std::size_t i = 0; i < end; ++i) {
        const auto place = std::find(open.begin(), open.end(), i);
        const bool lost = place != open.end() && (subset >> (place - open.begin()) & 1U) == 0;
        if (!lost) detail::apply(operations[i], image);
      }
      visit(image);
    }
  }
  return states;
}

}  // namespace lisa::test
