#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
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
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// Records by the index of their sample, so that they come in the order of the data set.
using SampleRecords = std::map<std::size_t, SampleRecord>;

/// One of several processes that share an evaluation: it takes the samples whose index leaves `rank` modulo `count`, so
/// that no sample is evaluated twice and none is left out.
struct Shard {
  std::size_t rank = 0;
  std::size_t count = 1;
};

/// @throws InputError unless rank < count
inline void validate(const Shard& shard) {
  if (shard.rank >= shard.count)
    throw InputError("rank", found_expected(std::to_string(shard.rank) + " of " + std::to_string(shard.count),
                                            "a rank below the number of processes"));
}

/// Where a shard's records stand: `records.jsonl`, or `records-0-of-4.jsonl` beside those of the other shards.
[[nodiscard]] inline std::filesystem::path record_path(const std::filesystem::path& folder, const Shard& shard) {
  if (shard.count == 1) return folder / "records.jsonl";
  return folder / ("records-" + std::to_string(shard.rank) + "-of-" + std::to_string(shard.count) + ".jsonl");
}

/// The record files of a folder, of whatever number of shards, in the order of their names.
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
  explicit RecordWriter(const std::filesystem::path& path) : name_(shown_path(path)) {
    descriptor_ = FileDescriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    if (!descriptor_.valid()) fail("opening");
    if (::flock(descriptor_.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) throw IoError(name_, "", "found another process that writes to it, expected none");
      fail("locking");
    }
    if (::ftruncate(descriptor_.get(), end_of_last_line()) != 0) fail("dropping an unfinished line");
  }

  /// @throws IoError; the file then ends with a whole line or one that the next writer drops
  void append(const SampleRecord& record) {
    const detail::FileSizeSignalBlock no_signal;
    const std::string line = record_json(record).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    for (std::string_view left = line; !left.empty();) {
      const ssize_t written = ::write(descriptor_.get(), left.data(), left.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("writing");
      left.remove_prefix(static_cast<std::size_t>(written));
    }
  }

 private:
  [[noreturn]] void fail(const std::string& doing) const { throw IoError(name_, doing, std::strerror(errno)); }

  [[nodiscard]] off_t end_of_last_line() const {
    struct stat status{};
    if (::fstat(descriptor_.get(), &status) != 0) fail("reading its status");
    std::string block(4096, '\0');
    for (off_t end = status.st_size; end > 0;) {
      const off_t begin = std::max<off_t>(0, end - static_cast<off_t>(block.size()));
      const auto size = static_cast<std::size_t>(end - begin);
      const ssize_t got = ::pread(descriptor_.get(), block.data(), size, begin);
      if (got != static_cast<ssize_t>(size)) fail("reading its last line");
      const std::size_t newline = std::string_view(block).substr(0, size).rfind('\n');
      if (newline != std::string_view::npos) return begin + static_cast<off_t>(newline) + 1;
      end = begin;
    }
    return 0;
  }

  std::string name_;
  FileDescriptor descriptor_;
};

}  // namespace lisa
