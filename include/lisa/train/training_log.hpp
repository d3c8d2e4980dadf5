#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/files/append_file.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_fields.hpp"

namespace lisa {

/// What one optimiser step gave, means over its micro batches and ranks.
struct StepReport {
  std::int64_t step = 0;  ///< counted from 1
  double loss = 0;        ///< the weighted sum
  double ce = 0;          ///< cross entropy of the answers' tokens, not weighted; so the two below
  double bce = 0;         ///< binary cross entropy of the masks
  double dice = 0;
  double learning_rate = 0;
  double gradient_norm = 0;  ///< before clipping
  std::int64_t samples = 0;  ///< trained on in this step, on all ranks
  double seconds = 0;        ///< of the step, waiting included
  double data_seconds = 0;   ///< of which it waited for data
};

/// One line of the log as a JSON object.
[[nodiscard]] inline Json to_json(const StepReport& report) {
  return {{"step", report.step},
          {"loss", report.loss},
          {"ce_loss", report.ce},
          {"mask_bce_loss", report.bce},
          {"mask_dice_loss", report.dice},
          {"lr", report.learning_rate},
          {"gradient_norm", report.gradient_norm},
          {"samples", report.samples},
          {"seconds", report.seconds},
          {"data_seconds", report.data_seconds}};
}

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
