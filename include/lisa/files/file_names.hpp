#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// Names of the files in `folder` that end with `extension` (".png"), without it, sorted by bytes: the same everywhere.
/// @throws IoError when the folder cannot be read
[[nodiscard]] inline std::vector<std::string> file_stems(const std::filesystem::path& folder,
                                                         std::string_view extension) {
  std::vector<std::string> stems;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (name.size() <= extension.size() || !name.ends_with(extension)) continue;
    name.resize(name.size() - extension.size());
    stems.push_back(std::move(name));
  }
  if (error) throw IoError(shown_path(folder), "", "cannot list the folder: " + error.message());
  std::sort(stems.begin(), stems.end());
  return stems;
}

}  // namespace lisa
