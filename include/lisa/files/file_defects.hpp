#pragma once

#include <string>
#include <utility>

#include "lisa/base/error.hpp"

namespace lisa {

/// The defects of one file, so that all of them are reported at once.
class FileDefects {
 public:
  explicit FileDefects(std::string file) : file_(std::move(file)) {}

  /// `place` is the tensor, field, record or byte; both parts must be printable already.
  void add(const std::string& place, const std::string& message) {
    if (defects_.empty()) {
      first_place_ = place;
      first_message_ = message;
    }
    defects_.add(place + ": " + message);
  }

  [[nodiscard]] bool empty() const noexcept { return defects_.empty(); }
  [[nodiscard]] const std::string& file() const noexcept { return file_; }

  /// Throws FormatError with everything that was added; does nothing when nothing was.
  void throw_if_any() const {
    if (defects_.empty()) return;
    if (defects_.count() == 1) throw FormatError(file_, first_place_, first_message_);
    throw FormatError(file_, "", defects_.report("defects"));
  }

 private:
  std::string file_;
  std::string first_place_;
  std::string first_message_;
  Defects defects_;
};

}  // namespace lisa
