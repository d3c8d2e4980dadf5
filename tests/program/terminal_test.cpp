// torch-free
// What the program says on a terminal, and to those who mistype.
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/run_program.hpp"

//
#include <doctest/doctest.h>

namespace {

using namespace lisa::test;

/// Runs the program on a terminal of its own and returns all that appears there.
std::string shown(const std::vector<std::string>& arguments, const std::vector<std::string>& environment) {
  std::vector<std::string> words{LISA_PROGRAM}, variables = environment;
  words.insert(words.end(), arguments.begin(), arguments.end());
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> all;
    for (std::string& text : texts) all.push_back(text.data());
    all.push_back(nullptr);
    return all;
  };
  std::vector<char*> argv = pointers(words), envp = pointers(variables);
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (child < 0) throw std::runtime_error("no terminal");
  if (child == 0) {
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t count; (count = ::read(terminal, buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(count));
  ::close(terminal);
  ::waitpid(child, nullptr, 0);
  return text;
}

const std::vector<std::string> unreadable{"info", "/nowhere/model"};

}  // namespace

TEST_CASE("a terminal that shows colors gets them, unless it or its user does not want any") {
  const std::string colored = shown(unreadable, {"TERM=xterm"});
  CHECK(colored.find("\x1b[1;31merror\x1b[0m: ") != std::string::npos);
  CHECK(colored.find("/nowhere/model") != std::string::npos);
  for (const std::vector<std::string>& plain :
       std::vector<std::vector<std::string>>{{"TERM=xterm", "NO_COLOR=1"}, {"TERM=dumb"}, {}}) {
    const std::string text = shown(unreadable, plain);
    CHECK(text.find("error: ") != std::string::npos);
    CHECK(text.find('\x1b') == std::string::npos);
  }
}

TEST_CASE("a command that does not exist is named beside those that do") {
  for (const std::string mistyped : {"segmnt", "--bogus"}) {
    const ProgramRun run = run_program(LISA_PROGRAM, {mistyped});
    CHECK(run.exit_code == 2);
    CHECK(run.out.empty());
    CHECK(run.err.find("found \"" + mistyped + "\", expected a command: segment, chat, eval, train, data, info") !=
          std::string::npos);
  }
  const ProgramRun none = run_program(LISA_PROGRAM, {});
  CHECK(none.exit_code == 2);
  CHECK(none.err.find("--help") != std::string::npos);
}
