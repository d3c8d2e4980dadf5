#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lisa {

/// What went wrong, from a caller's point of view. The command-line program maps each kind to an exit code.
enum class ErrorKind {
  io,        ///< the operating system refused: missing file, permission, full disk
  format,    ///< a file's content breaks its format's rules
  mismatch,  ///< well-formed files that do not fit each other or the compiled specification
  input,     ///< an argument, prompt or option that cannot be used
  limit,     ///< refused because it exceeds a stated bound (pixels, bytes, depth, context length)
};

/// The one exception family of the library. `what()` reads `file: place: found X, expected Y`; parts that do not
/// apply are left out. Every part is already escaped for a terminal (see `printable`).
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string file, std::string place, std::string message)
      : std::runtime_error(join(file, place, message)), kind_(kind), file_(std::move(file)), place_(std::move(place)) {}

  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
  /// File the defect is in; empty when no file is involved.
  [[nodiscard]] const std::string& file() const noexcept { return file_; }
  /// Tensor, field, byte, line, sample or argument the defect is at; may be empty.
  [[nodiscard]] const std::string& place() const noexcept { return place_; }
  /// `what()` without file and place.
  [[nodiscard]] std::string message() const {
    const std::size_t before = (file_.empty() ? 0 : file_.size() + 2) + (place_.empty() ? 0 : place_.size() + 2);
    return std::string(what()).substr(before);
  }

 private:
  static std::string join(const std::string& file, const std::string& place, const std::string& message) {
    std::string text;
    for (const std::string* part : {&file, &place}) {
      if (!part->empty()) {
        text += *part;
        text += ": ";
      }
    }
    return text + message;
  }

  ErrorKind kind_;
  std::string file_;
  std::string place_;
};

/// A file, directory or device that the operating system would not read or write.
class IoError : public Error {
 public:
  IoError(std::string file, std::string place, std::string message)
      : Error(ErrorKind::io, std::move(file), std::move(place), std::move(message)) {}
};

/// File content that breaks the rules of its format.
class FormatError : public Error {
 public:
  FormatError(std::string file, std::string place, std::string message)
      : Error(ErrorKind::format, std::move(file), std::move(place), std::move(message)) {}
};

/// Valid parts that do not belong together: checkpoint against specification, tokenizer against embedding.
class MismatchError : public Error {
 public:
  MismatchError(std::string file, std::string place, std::string message)
      : Error(ErrorKind::mismatch, std::move(file), std::move(place), std::move(message)) {}
};

/// A wrong argument, prompt, option or sample given by the caller.
class InputError : public Error {
 public:
  InputError(std::string place, std::string message)
      : Error(ErrorKind::input, {}, std::move(place), std::move(message)) {}
  InputError(std::string file, std::string place, std::string message)
      : Error(ErrorKind::input, std::move(file), std::move(place), std::move(message)) {}
};

/// Content that is refused because it exceeds a documented bound.
class LimitError : public Error {
 public:
  LimitError(std::string file, std::string place, std::string message)
      : Error(ErrorKind::limit, std::move(file), std::move(place), std::move(message)) {}
};

/// The usual wording of an error's last part.
[[nodiscard]] inline std::string found_expected(std::string_view found, std::string_view expected) {
  return "found " + std::string(found) + ", expected " + std::string(expected);
}

/// Collects all defects of one kind so that a user repairs a file once, not once per run. The report shows the first
/// `shown` of them, in the order they were added, and the count of the rest.
class Defects {
 public:
  static constexpr std::size_t shown = 20;

  void add(std::string defect) {
    ++count_;
    if (first_.size() < shown) first_.push_back(std::move(defect));
  }

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

  /// "N <what>:\n  first\n  second\n  ... and M more"; a single defect stays on one line.
  [[nodiscard]] std::string report(std::string_view what) const {
    std::string text = std::to_string(count_) + " " + std::string(what) + ":";
    if (count_ == 1) return text + " " + first_.front();
    for (const std::string& defect : first_) text += "\n  " + defect;
    if (count_ > first_.size()) text += "\n  ... and " + std::to_string(count_ - first_.size()) + " more";
    return text;
  }

 private:
  std::vector<std::string> first_;
  std::size_t count_ = 0;
};

}  // namespace lisa
