#pragma once

#include <fcntl.h>
#include <signal.h>
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

/// A program that runs beside the test, without a shell; killed at the end of its scope.
class RunningProgram {
 public:
  /// @param largest_file bytes that it may write to one file
  /// @param input file that it reads as its standard input
  explicit RunningProgram(const std::string& program, const std::vector<std::string>& arguments,
                          std::optional<std::uint64_t> largest_file = {}, const std::string& input = "/dev/null")
      : out_(captured_ / "out"), err_(captured_ / "err") {
    std::vector<char*> argv{const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    child_ = ::fork();
    if (child_ < 0) throw std::runtime_error("cannot start " + program);
    if (child_ != 0) return;
    const int from = ::open(input.c_str(), O_RDONLY);
    const int to_out = ::open(out_.c_str(), O_WRONLY | O_CREAT, 0600),
              to_err = ::open(err_.c_str(), O_WRONLY | O_CREAT, 0600);
    if (largest_file) {
      const rlimit limit{*largest_file, *largest_file};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (::dup2(from, 0) == 0 && ::dup2(to_out, 1) == 1 && ::dup2(to_err, 2) == 2) ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ~RunningProgram() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  void signal(int number) const { ::kill(child_, number); }

  /// Waits for its end.
  ProgramRun wait() {
    ended(0);
    return result();
  }
  /// What it left behind, or nothing when it still runs after `seconds`.
  std::optional<ProgramRun> wait_for(double seconds) {
    for (double waited = 0; !ended(WNOHANG); waited += 0.02) {
      if (waited > seconds) return std::nullopt;
      ::usleep(20'000);
    }
    return result();
  }

 private:
  bool ended(int options) {
    if (child_ <= 0) return true;
    const pid_t found = ::waitpid(child_, &status_, options);
    if (found < 0) throw std::runtime_error("lost a program");
    if (found == child_) child_ = -1;
    return child_ < 0;
  }
  [[nodiscard]] ProgramRun result() const {
    return {.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_),
            .out = read_text(out_),
            .err = read_text(err_)};
  }

  TempDir captured_;
  std::filesystem::path out_, err_;
  pid_t child_ = -1;
  int status_ = 0;
};

/// Runs a program and waits for it; the parameters are `RunningProgram`'s.
inline ProgramRun run_program(const std::string& program, const std::vector<std::string>& arguments,
                              std::optional<std::uint64_t> largest_file = {}, const std::string& input = "/dev/null") {
  return RunningProgram(program, arguments, largest_file, input).wait();
}

}  // namespace lisa::test
