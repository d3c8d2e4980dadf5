#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "lisa/base/duration.hpp"
#include "lisa/base/stopwatch.hpp"

namespace lisa::program {

/// Whether standard error is a terminal that shows colours (NO_COLOR unset, TERM not "dumb").
[[nodiscard]] bool stderr_is_terminal();

/// Prints "error: ..." or "warning: ..." on standard error, in colour on a terminal.
void print_error(std::string_view message);
void print_warning(std::string_view message);

/// "13.5 GB", with powers of 1000.
[[nodiscard]] std::string bytes(double count);

/// Progress of a long task on standard error: one line that rewrites itself on a terminal, a plain line at most every
/// ten seconds elsewhere. Shows count, rate and the time left.
class Progress {
 public:
  Progress(std::string what, std::size_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` of the total are finished; `note` says what is under way.
  void update(std::size_t done, std::string_view note = {});

 private:
  [[nodiscard]] std::string line(std::size_t done, std::string_view note) const;

  std::string what_;
  std::size_t total_;
  bool terminal_;
  double seconds_ = 0;      ///< since the start
  double next_line_ = 0;    ///< when a plain line is due
  bool line_open_ = false;  ///< the terminal's cursor stands behind a progress line
  Stopwatch watch_;
};

}  // namespace lisa::program
