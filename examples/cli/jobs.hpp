#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lisa::program {

/// One question about one image. The id names its output files.
struct Job {
  std::string id;
  std::string image;
  std::string prompt;
  bool operator==(const Job&) const = default;
};

/// Jobs that ask the same question about every image. Patterns with *, ? or [ are expanded, in sorted order.
/// @throws IoError for a pattern that matches nothing
[[nodiscard]] std::vector<Job> jobs_for_images(const std::vector<std::string>& images, const std::string& prompt);

/// Jobs from a JSONL file: one object a line with "image", "prompt" and, if wanted, "id". Relative images are looked up
/// from the file's folder. @throws IoError, FormatError naming every bad line
[[nodiscard]] std::vector<Job> jobs_from_file(const std::string& path);

/// A name that is safe as part of a file name: letters, digits, '.', '-' and '_'; anything else becomes '_'.
[[nodiscard]] std::string file_name_part(std::string_view text);

}  // namespace lisa::program
