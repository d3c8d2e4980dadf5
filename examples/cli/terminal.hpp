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

/// A line on standard error that says how far a task is: it rewrites itself on a terminal; elsewhere it is a plain line
/// at most every ten seconds.
class StatusLine {
 public:
  StatusLine();
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  /// @param last  the task is done: the line appears in any case
  void update(std::string_view text, bool last = false);
  /// Takes the line from the terminal, so that something else can be printed.
  void clear();

 private:
  bool terminal_;
  double seconds_ = 0;      ///< since the start
  double next_line_ = 0;    ///< when a plain line is due
  bool line_open_ = false;  ///< the terminal's cursor stands behind the line
  Stopwatch watch_;
};

/// Progress of a long task on a `StatusLine`. Shows count, rate and the time left.
class Progress {
 public:
  Progress(std::string what, std::size_t total);

  /// `done` of the total are finished; `note` says what is under way.
  void update(std::size_t done, std::string_view note = {});

 private:
  [[nodiscard]] std::string line(std::size_t done, std::string_view note) const;

  std::string what_;
  std::size_t total_;
  double seconds_ = 0;  ///< since the start
  Stopwatch watch_;
  StatusLine status_;
};

}  // namespace lisa::program
