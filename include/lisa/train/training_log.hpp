#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "lisa/base/error.hpp"
#include "lisa/files/append_file.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_fields.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// A log of JSON objects, one per line, each written at once, so that a reader never meets half of one but for the last
/// after a power cut. A run that resumes goes on in the same file.
class TrainingLog {
 public:
  /// Opens the log for appending. Lines of steps beyond `resumed_step` were written by a run whose state is lost; they
  /// go, as does a torn last line. A new run passes 0.
  /// Throws IoError; FormatError for a file that is no such log.
  TrainingLog(const std::filesystem::path& path, std::int64_t resumed_step)
      : file_(path, kept_bytes(path, resumed_step)) {}

  /// Adds one line; `entry` should have a "step". Throws IoError; InputError for text that is not UTF-8 and for numbers
  /// that JSON cannot hold (NaN, infinity).
  void append(const Json& entry) {
    try {
      file_.append(entry.dump() + "\n");
    } catch (const Json::exception&) {
      throw InputError(file_.name(), "log entry", "found text that is not UTF-8, expected UTF-8");
    }
  }

 private:
  /// Length of the part that stays.
  [[nodiscard]] static std::uint64_t kept_bytes(const std::filesystem::path& path, std::int64_t resumed_step) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return 0;
    const MappedFile file(path);
    std::uint64_t kept = 0;
    std::size_t line_number = 0;
    for (std::string_view rest = file.text(); !rest.empty();) {
      const std::size_t end = rest.find('\n');
      if (end == std::string_view::npos) break;
      const std::string line_name = file.name() + ":" + std::to_string(++line_number);
      const Json entry = parse_json(rest.substr(0, end), line_name);
      Defects defects;
      JsonFields fields(entry, defects);
      const std::optional<std::int64_t> step = fields.integer("step", 0, std::numeric_limits<std::int64_t>::max());
      if (!defects.empty()) throw FormatError(line_name, "", defects.report("defects"));
      if (step.value_or(0) > resumed_step) break;
      rest.remove_prefix(end + 1);
      kept += end + 1;
    }
    return kept;
  }

  AppendFile file_;
};

}  // namespace lisa
