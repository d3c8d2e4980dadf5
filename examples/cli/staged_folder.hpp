#pragma once

#include <filesystem>
#include <string>

namespace lisa::program {

/// A folder that appears under its name whole or not at all. Files go into a hidden folder beside it, which `commit`
/// renames; without a commit it is removed with everything in it.
class StagedFolder {
 public:
  /// @throws InputError unless `target` is a new name or an empty folder; IoError when its parent cannot be written
  explicit StagedFolder(const std::filesystem::path& target);
  ~StagedFolder();
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  /// Where to write until the commit.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return staged_; }

  /// @throws IoError when the folder cannot get its name, for instance because it was filled meanwhile
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path staged_;
};

}  // namespace lisa::program
