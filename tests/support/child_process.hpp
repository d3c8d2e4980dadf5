#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/temp_dir.hpp"

namespace lisa::test {

/// A process of this test program that runs one test case (a name without commas) with other environment variables; one
/// that runs in two roles asks for one of them. A fork without a new program would not do: OpenMP's threads do not
/// survive it.
class ChildProcess {
 public:
  ChildProcess(const std::string& test_case, const std::map<std::string, std::string>& environment,
               std::filesystem::path output)
      : output_(std::move(output)) {
    std::vector<std::string> variables;
    for (char** variable = environ; *variable != nullptr; ++variable) {
      const std::string text = *variable;
      if (!environment.contains(text.substr(0, text.find('=')))) variables.push_back(text);
    }
    for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
    std::vector<std::string> arguments{"/proc/self/exe", "--test-case=" + test_case};
    const auto pointers = [](std::vector<std::string>& texts) {
      std::vector<char*> all;
      for (std::string& text : texts) all.push_back(text.data());
      all.push_back(nullptr);
      return all;
    };
    std::vector<char*> argv = pointers(arguments), envp = pointers(variables);
    process_ = ::fork();
    if (process_ < 0) throw std::runtime_error("cannot start a process");
    if (process_ != 0) return;
    const int file = ::open(output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (::dup2(file, 1) == 1 && ::dup2(file, 2) == 2) ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ~ChildProcess() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  ChildProcess(ChildProcess&& other) noexcept
      : output_(std::move(other.output_)), process_(std::exchange(other.process_, -1)), exit_code_(other.exit_code_) {}
  ChildProcess& operator=(ChildProcess&&) = delete;

  /// Its exit code, 128 + the number of the signal that ended it, or nothing when it still runs after `seconds`.
  std::optional<int> wait(double seconds) {
    for (double waited = 0; !exit_code_; waited += 0.01) {
      int status = 0;
      if (::waitpid(process_, &status, WNOHANG) == process_) {
        process_ = -1;
        exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      } else if (waited > seconds) {
        return std::nullopt;
      } else {
        ::usleep(10'000);
      }
    }
    return exit_code_;
  }

  /// What it wrote so far.
  [[nodiscard]] std::string output() const { return read_text(output_); }
  /// When it wrote last.
  [[nodiscard]] std::filesystem::file_time_type last_output() const {
    return std::filesystem::last_write_time(output_);
  }

 private:
  std::filesystem::path output_;
  pid_t process_ = -1;
  std::optional<int> exit_code_;
};

}  // namespace lisa::test
