#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "chat_command.hpp"
#include "convert_command.hpp"
#include "data_command.hpp"
#include "eval_command.hpp"
#include "exit_code.hpp"
#include "info_command.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/keep_freed_memory.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/version.hpp"
#include "random_command.hpp"
#include "segment_command.hpp"
#include "start_command.hpp"
#include "terminal.hpp"
#include "train_command.hpp"

namespace lisa::program {
namespace {

constexpr const char* footer =
    "Exit codes: 0 success, 1 fault of the program, 2 wrong option, 3 file not readable or writable, 4 broken file,\n"
    "5 files that do not fit each other or the compiled specifications, 6 unusable question, image or value,\n"
    "7 refused for its size, 8 some jobs of several failed.\n"
    "`lisa COMMAND --help` shows a command's options and examples.";

/// Says what is wrong with the arguments, and returns the exit code.
int report(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> unknown = app.remaining();
  if (app.get_subcommands().empty() && !unknown.empty()) {
    std::string commands;
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
      commands += (commands.empty() ? "" : ", ") + command->get_name();
    print_error(found_expected(quoted(unknown.front()), "a command: " + commands));
    return static_cast<int>(ExitCode::usage);
  }
  return app.exit(error) == 0 ? static_cast<int>(ExitCode::success) : static_cast<int>(ExitCode::usage);
}

int run(int argc, char** argv) {
  CLI::App app{"Reasoning segmentation: an image and a question in, an answer and masks out", "lisa"};
  app.set_version_flag("--version", std::string(version));
  app.require_subcommand(1);
  app.footer(footer);
  add_segment_command(app);
  add_chat_command(app);
  add_eval_command(app);
  add_train_command(app);
  add_data_command(app);
  add_info_command(app);
  add_convert_command(app);
  add_start_command(app);
  add_random_command(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::RuntimeError& error) {  // a command that has already said what failed
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return report(app, error);
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    throw IoError("standard output", {}, std::string("cannot write: ") + std::strerror(errno));
  return static_cast<int>(ExitCode::success);
}

}  // namespace
}  // namespace lisa::program

int main(int argc, char** argv) {
  using lisa::program::ExitCode;
  lisa::keep_freed_memory();
  const lisa::TruncationGuard guard;  // weights stay mapped while the program runs
  try {
    return lisa::program::run(argc, argv);
  } catch (const lisa::Error& error) {
    lisa::program::print_error(error.what());
    return static_cast<int>(lisa::program::exit_code(error.kind()));
  } catch (const std::bad_alloc&) {
    lisa::program::print_error("not enough memory");
    return static_cast<int>(ExitCode::limit);
  } catch (const std::exception& error) {
    // libtorch appends a stack trace to its messages; the first line says what happened.
    const std::string text = error.what();
    lisa::program::print_error("internal: " + text.substr(0, text.find('\n')));
    return static_cast<int>(ExitCode::internal);
  }
}
