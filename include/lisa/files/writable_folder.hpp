#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "lisa/base/error.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// Makes a folder, with those above it, when it is not there, and sees that files can be made in it, so that who writes
/// only at the end of long work learns at its beginning that it cannot. Leaves nothing in the folder.
/// @throws IoError for another kind of file, missing permission and read-only file systems
inline void make_writable_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  struct stat status{};
  if (::stat(folder.c_str(), &status) == 0 && !S_ISDIR(status.st_mode))
    throw IoError(shown_path(folder), "", found_expected(file_type_name(status.st_mode), "a folder or a new name"));
  if (error) throw IoError(shown_path(folder), "creating the folder", error.message());
  // By the effective user, who will write.
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0)
    throw IoError(shown_path(folder), "making files in this folder", std::strerror(errno));
}

}  // namespace lisa
