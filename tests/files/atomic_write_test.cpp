// torch-free
#include "lisa/files/atomic_write.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

namespace fs = std::filesystem;
using lisa::AtomicFile;
using lisa::test::read_text;
using lisa::test::TempDir;

namespace {

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a committed file has the bytes that were appended, and nothing else is left") {
  const TempDir folder;
  lisa::test::write_text(folder / "f", "before");
  const std::string large(3 << 20, 'L');
  {
    AtomicFile file(folder / "f");
    file.append("head");
    file.append(large);
    file.append("tail");
    CHECK(file.size() == large.size() + 8);
    CHECK(read_text(folder / "f") == "before");
    file.commit();
  }
  CHECK(read_text(folder / "f") == "head" + large + "tail");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("without a commit the old file stays and the temporary one goes") {
  const TempDir folder;
  lisa::test::write_text(folder / "f", "before");
  {
    AtomicFile file(folder / "f");
    file.append("half");
    AtomicFile moved(std::move(file));
    moved.append("more");
  }
  CHECK(read_text(folder / "f") == "before");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("two writers of one name do not disturb each other; the last commit stays") {
  const TempDir folder;
  AtomicFile one(folder / "f");
  AtomicFile two(folder / "f");
  one.append("one");
  two.append("two");
  two.commit();
  one.commit();
  CHECK(read_text(folder / "f") == "one");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("targets that are no regular file are refused and left alone") {
  const TempDir folder;
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  fs::create_symlink("/dev/full", folder / "to_device");
  fs::create_symlink("nothing", folder / "to_nothing");
  fs::create_symlink("fifo", folder / "to_fifo");
  struct Row {
    std::string path, word;
  };
  for (const Row& row :
       {Row{folder.path().string(), "a directory"}, Row{"/dev/full", "a device"},
        Row{(folder / "fifo").string(), "a FIFO"}, Row{(folder / "to_device").string(), "a device"},
        Row{(folder / "to_fifo").string(), "a FIFO"}, Row{(folder / "to_nothing").string(), "a link to nothing"},
        Row{(folder / "no_folder/f").string(), "No such file"}}) {
    const std::string named = row.word == "a device" ? "/dev/full" : row.word == "a FIFO" ? "fifo" : row.path;
    CHECK(lisa::test::broken_promises({.row = row.path,
                                       .kind = lisa::ErrorKind::io,
                                       .file = named,
                                       .words = {row.word},
                                       .unchanged = folder.path()},
                                      [&] { lisa::write_file(row.path, "x"); }) == "");
  }
  CHECK(fs::is_character_file("/dev/full"));
}

TEST_CASE("a link to a regular file is written through") {
  const TempDir folder;
  lisa::test::write_text(folder / "real", "before");
  fs::create_symlink("real", folder / "link");
  lisa::write_file(folder / "link", "after");
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(read_text(folder / "real") == "after");
}

TEST_CASE("a file that may not grow gives an error, leaves nothing, and the signal does not end the process") {
  const TempDir folder;
  lisa::test::write_text(folder / "f", "before");
  const pid_t child = ::fork();
  if (child == 0) {  // the limit, once set, holds for the whole process
    const rlimit limit{1 << 16, 1 << 16};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      lisa::write_file(folder / "f", std::string(1 << 20, 'x'));
    } catch (const lisa::IoError& error) {
      const std::string message = error.what();
      ::_exit(message.find((folder / "f").string()) != std::string::npos && message.find("writing") != std::string::npos
                  ? 0
                  : 2);
    }
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(read_text(folder / "f") == "before");
  CHECK(entries(folder.path()) == 1);
}
