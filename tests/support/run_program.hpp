#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/temp_dir.hpp"

namespace lisa::test {

/// What a program left behind: 128 + the signal's number as the exit code where a signal ended it.
struct ProgramRun {
  int exit_code = -1;
  std::string out;
  std::string err;
};

/// Runs a program without a shell and waits for it. @param largest_file bytes that it may write to one file
/// @param input file that it reads as its standard input
inline ProgramRun run_program(const std::string& program, const std::vector<std::string>& arguments,
                              std::optional<std::uint64_t> largest_file = {}, const std::string& input = "/dev/null") {
  const TempDir captured;
  const std::string out = captured / "out", err = captured / "err";
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot start " + program);
  if (child == 0) {
    const int from = ::open(input.c_str(), O_RDONLY);
    const int to_out = ::open(out.c_str(), O_WRONLY | O_CREAT, 0600),
              to_err = ::open(err.c_str(), O_WRONLY | O_CREAT, 0600);
    if (largest_file) {
      const rlimit limit{*largest_file, *largest_file};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (::dup2(from, 0) == 0 && ::dup2(to_out, 1) == 1 && ::dup2(to_err, 2) == 2) ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) throw std::runtime_error("lost " + program);
  return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = read_text(out),
          .err = read_text(err)};
}

}  // namespace lisa::test
