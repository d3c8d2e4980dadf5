// torch-free
#include "lisa/files/mapped_file.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

using lisa::MappedFile;
using lisa::test::TempDir;

namespace {

/// Another process cuts the file.
void truncate_elsewhere(const std::filesystem::path& path, long length) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::truncate(path.c_str(), length) == 0 ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
}

/// A byte beyond the end of a file that is mapped without the library's help.
volatile const char* foreign_fault_address(const std::filesystem::path& path) {
  const lisa::OpenedFile file = lisa::open_regular_file(path);
  return static_cast<const char*>(::mmap(nullptr, 1 << 16, PROT_READ, MAP_PRIVATE, file.descriptor.get(), 0)) +
         (1 << 15);
}

/// How a forked process that runs `body` ends.
template <class Body>
int status_of(Body&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

void exit_with_7(int) { ::_exit(7); }

}  // namespace

TEST_CASE("a mapped file shows its bytes and length") {
  const TempDir folder;
  lisa::test::write_text(folder / "f", "hello");
  const MappedFile file(folder / "f");
  CHECK(file.text() == "hello");
  CHECK(file.size() == 5);
  CHECK(file.intact());
  lisa::test::write_text(folder / "empty", "");
  CHECK(MappedFile(folder / "empty").bytes().empty());
}

TEST_CASE("writing to a copy-on-write mapping leaves the file alone") {
  const TempDir folder;
  lisa::test::write_text(folder / "f", "hello");
  const MappedFile file(folder / "f", lisa::MappedAccess::copy_on_write);
  file.data()[0] = std::byte{'J'};
  CHECK(file.text() == "Jello");
  CHECK(lisa::test::read_text(folder / "f") == "hello");
}

TEST_CASE("what is no readable regular file is refused at once") {
  const TempDir folder;
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  struct Row {
    std::string path, word;
  };
  for (const Row& row : {Row{(folder / "fifo").string(), "a FIFO"}, Row{folder.path().string(), "a directory"},
                         Row{"/dev/zero", "a device"}, Row{(folder / "missing").string(), "cannot open"}})
    CHECK(lisa::test::broken_promises({.row = row.word,
                                       .kind = lisa::ErrorKind::io,
                                       .file = row.path,
                                       .words = {row.word},
                                       .unchanged = folder.path()},
                                      [&] { MappedFile file(row.path); }) == "");
}

TEST_CASE("a file that is cut while mapped reads as zeros, counts as damaged, and the process lives (row 34)") {
  const TempDir folder;
  const lisa::TruncationGuard guard;
  lisa::test::write_text(folder / "f", std::string(1 << 20, 'x'));
  lisa::test::write_text(folder / "other", std::string(1 << 16, 'y'));
  const MappedFile file(folder / "f");
  const MappedFile other(folder / "other");
  truncate_elsewhere(folder / "f", 8192);
  CHECK(file.text()[8191] == 'x');
  CHECK(file.intact());
  long sum = 0;
  for (const char c : file.text()) sum += c;
  CHECK(sum == 8192 * 'x');
  CHECK(!file.intact());
  CHECK(other.intact());
  CHECK(other.text().back() == 'y');
  CHECK(lisa::test::broken_promises({.row = "34",
                                     .kind = lisa::ErrorKind::io,
                                     .file = (folder / "f").string(),
                                     .words = {"shorter than 1048576"}},
                                    [&] { file.require_intact(); }) == "");
  lisa::test::write_text(folder / "again", "fresh");  // the slot of a closed mapping starts undamaged
  {
    const MappedFile closed(folder / "again");
  }
  CHECK(MappedFile(folder / "again").intact());
}

TEST_CASE("bus errors elsewhere go to the handler from before the guard") {
  const TempDir folder;
  lisa::test::write_text(folder / "f", "x");
  const int fatal = status_of([&] {
    ::signal(SIGBUS, SIG_DFL);
    const lisa::TruncationGuard guard;
    static_cast<void>(*foreign_fault_address(folder / "f"));
  });
  CHECK(WIFSIGNALED(fatal));
  CHECK(WTERMSIG(fatal) == SIGBUS);
  const int handled = status_of([&] {
    ::signal(SIGBUS, exit_with_7);
    const lisa::TruncationGuard guard;
    static_cast<void>(*foreign_fault_address(folder / "f"));
  });
  CHECK(WIFEXITED(handled));
  CHECK(WEXITSTATUS(handled) == 7);
}

TEST_CASE("the last guard puts the handler from before back") {
  const int status = status_of([] {
    ::signal(SIGBUS, exit_with_7);
    {
      const lisa::TruncationGuard outer;
      const lisa::TruncationGuard inner;
    }
    struct sigaction now{};
    ::sigaction(SIGBUS, nullptr, &now);
    ::_exit(now.sa_handler == exit_with_7 ? 0 : 1);
  });
  CHECK(WEXITSTATUS(status) == 0);
}
