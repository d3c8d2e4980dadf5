#pragma once

#include "lisa/base/error.hpp"

namespace lisa::program {

/// Exit codes of the program, documented in `lisa --help`.
enum class ExitCode : int {
  success = 0,
  internal = 1,   ///< a fault of the program
  usage = 2,      ///< an unknown or malformed option
  io = 3,         ///< a file that cannot be read or written
  format = 4,     ///< a file whose content breaks its format
  mismatch = 5,   ///< files that do not fit each other or the compiled specifications
  input = 6,      ///< a question, image or option value that cannot be used
  limit = 7,      ///< refused for its size
  incomplete = 8  ///< some jobs of several failed
};

[[nodiscard]] constexpr ExitCode exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::io:
      return ExitCode::io;
    case ErrorKind::format:
      return ExitCode::format;
    case ErrorKind::mismatch:
      return ExitCode::mismatch;
    case ErrorKind::input:
      return ExitCode::input;
    case ErrorKind::limit:
      return ExitCode::limit;
  }
  return ExitCode::internal;
}

}  // namespace lisa::program
