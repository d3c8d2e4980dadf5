#pragma once

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/eval/evaluation_record.hpp"
#include "lisa/files/append_file.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// Records by the index of their sample, so that they come in the order of the data set.
using SampleRecords = std::map<std::size_t, SampleRecord>;

/// One of several processes that share an evaluation: it takes the samples whose index leaves `rank` modulo `count`, so
/// that no sample is evaluated twice and none is left out.
struct SampleShare {
  std::size_t rank = 0;
  std::size_t count = 1;
};

/// @throws InputError unless rank < count
inline void validate(const SampleShare& share) {
  if (share.rank >= share.count)
    throw InputError("rank", found_expected(std::to_string(share.rank) + " of " + std::to_string(share.count),
                                            "a rank below the number of processes"));
}

/// Where a share's records stand: `records.jsonl`, or `records-0-of-4.jsonl` beside those of the other shares.
[[nodiscard]] inline std::filesystem::path record_path(const std::filesystem::path& folder, const SampleShare& share) {
  if (share.count == 1) return folder / "records.jsonl";
  return folder / ("records-" + std::to_string(share.rank) + "-of-" + std::to_string(share.count) + ".jsonl");
}

/// The record files of a folder, of whatever number of shares, in the order of their names.
[[nodiscard]] inline std::vector<std::filesystem::path> record_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name == "records.jsonl" || (name.starts_with("records-") && name.ends_with(".jsonl")))
      files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

/// All records of a folder, one for each sample. A last line without its end, left by a process that was killed while
/// writing, is not counted.
/// @throws FormatError naming the file's broken lines, IoError
[[nodiscard]] inline SampleRecords read_records(const std::filesystem::path& folder) {
  SampleRecords records;
  for (const std::filesystem::path& path : record_files(folder)) {
    const MappedFile file(path);
    const std::string_view text = file.text();
    Defects defects;
    std::size_t number = 0;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      if (end == std::string_view::npos) break;
      const std::string place = "line " + std::to_string(++number);
      try {
        SampleRecord record = parse_record(parse_json(text.substr(at, end - at), place));
        records.try_emplace(record.index, std::move(record));
      } catch (const Error& error) {
        const std::string_view words = error.what();
        defects.add(words.starts_with(place) ? std::string(words) : place + ": " + std::string(words));
      }
      at = end + 1;
    }
    file.require_intact();
    if (!defects.empty()) throw FormatError(file.name(), {}, defects.report("broken records"));
  }
  return records;
}

/// Adds records to a file, each of them written at once, so that a killed process loses at most the one in hand.
class RecordWriter {
 public:
  /// Opens or creates the file and drops what stands behind its last line end.
  /// @throws IoError when the system refuses or another process writes to the file
  explicit RecordWriter(const std::filesystem::path& path) : lock_(locked(path)), file_(path, end_of_last_line(path)) {}

  /// @throws IoError; the file then is as before
  void append(const SampleRecord& record) {
    file_.append(record_json(record).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }

 private:
  /// Holds the file for this process until it is closed.
  static FileDescriptor locked(const std::filesystem::path& path) {
    FileDescriptor lock(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666));
    if (!lock.valid()) throw IoError(shown_path(path), "opening", std::strerror(errno));
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
    if (errno == EWOULDBLOCK)
      throw IoError(shown_path(path), "", "found another process that writes to it, expected none");
    throw IoError(shown_path(path), "locking", std::strerror(errno));
  }

  static std::uint64_t end_of_last_line(const std::filesystem::path& path) {
    const MappedFile file(path);
    return file.text().rfind('\n') + 1;  // npos + 1 is 0
  }

  FileDescriptor lock_;
  AppendFile file_;
};

}  // namespace lisa
