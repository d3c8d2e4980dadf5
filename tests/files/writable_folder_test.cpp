// torch-free
#include "lisa/files/writable_folder.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "lisa/base/error.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/ordinary_user.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

namespace fs = std::filesystem;
using lisa::ErrorKind;
using lisa::make_writable_folder;
using lisa::test::broken_promises;
using lisa::test::TempDir;

TEST_CASE("a folder that can be written is made with those above it, and nothing in it") {
  const TempDir folder;
  make_writable_folder(folder / "a/b");
  make_writable_folder(folder / "a/b");
  CHECK(fs::is_directory(folder / "a/b"));
  CHECK(fs::is_empty(folder / "a/b"));
}

TEST_CASE("a folder in which no files can be made is refused by name") {
  const TempDir folder;
  fs::permissions(folder.path(), fs::perms(0755));
  lisa::test::write_text(folder / "file", "x");
  const auto refused = [&](const fs::path& path, const std::string& file, const std::string& words) {
    CHECK(broken_promises(
              {.row = path.string(), .kind = ErrorKind::io, .file = file, .words = {words}, .unchanged = folder.path()},
              [&] {
                const lisa::test::OrdinaryUser user;
                make_writable_folder(path);
              }) == "");
  };
  refused(folder / "file", (folder / "file").string(), "found a regular file, expected a folder or a new name");
  refused("/dev/full", "/dev/full", "expected a folder or a new name");
  refused(folder / "file/below", "file/below", "creating the folder: Not a directory");
  refused("/proc/nothing", "/proc/nothing", "creating the folder");
  for (const unsigned rights : {0555U, 0444U}) {  // no files can be made; none can be reached
    fs::create_directory(folder / "closed");
    fs::permissions(folder / "closed", fs::perms(rights));
    refused(folder / "closed", "closed", "making files in this folder: Permission denied");
    fs::remove(folder / "closed");
  }
}
