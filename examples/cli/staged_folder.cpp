#include "staged_folder.hpp"

#include <unistd.h>

#include <system_error>

#include "lisa/base/error.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa::program {

namespace fs = std::filesystem;

StagedFolder::StagedFolder(const fs::path& target) : target_(fs::absolute(target).lexically_normal()) {
  if (!target_.has_filename()) target_ = target_.parent_path();  // "name/"
  std::error_code error;
  const fs::file_status status = fs::symlink_status(target_, error);
  if (fs::exists(status)) {
    const bool empty_folder = fs::is_directory(status) && fs::is_empty(target_, error) && !error;
    if (!empty_folder)
      throw InputError(
          "output", found_expected(shown_path(target_) + ", which is there already", "a new name or an empty folder"));
  }
  fs::create_directories(target_.parent_path(), error);
  if (error) throw IoError(shown_path(target_.parent_path()), "creating the folder", error.message());
  staged_ = target_.parent_path() / ("." + target_.filename().string() + "." + std::to_string(::getpid()) + ".tmp");
  if (!fs::create_directory(staged_, error))
    throw IoError(shown_path(target_), "creating a folder beside it", error ? error.message() : "its name is taken");
}

StagedFolder::~StagedFolder() {
  std::error_code ignored;
  if (!staged_.empty()) fs::remove_all(staged_, ignored);
}

void StagedFolder::commit() {
  std::error_code error;
  fs::rename(staged_, target_, error);
  if (error) throw IoError(shown_path(target_), "renaming into place", error.message());
  staged_.clear();
}

}  // namespace lisa::program
