#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

namespace detail {

/// Keeps SIGXFSZ (a write beyond RLIMIT_FSIZE) from ending the process while it lives, so that the write fails with
/// EFBIG instead. Blocks it for this thread only: no process-wide state changes.
class FileSizeSignalBlock {
 public:
  FileSizeSignalBlock() {
    sigemptyset(&signal_);
    sigaddset(&signal_, SIGXFSZ);
    ::pthread_sigmask(SIG_BLOCK, &signal_, &before_);
  }
  ~FileSizeSignalBlock() {
    const timespec now{};
    while (sigismember(&before_, SIGXFSZ) == 0 && ::sigtimedwait(&signal_, nullptr, &now) == SIGXFSZ) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  FileSizeSignalBlock(const FileSizeSignalBlock&) = delete;
  FileSizeSignalBlock& operator=(const FileSizeSignalBlock&) = delete;

 private:
  sigset_t signal_{};
  sigset_t before_{};
};

/// Where a file asked for as `path` really goes: through links, and only onto a regular file or a new name.
[[nodiscard]] inline std::filesystem::path writable_target(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::symlink_status(path, error).type() == fs::file_type::symlink) {
    const fs::path real = fs::canonical(path, error);
    if (error) throw IoError(shown_path(path), "", "found a link to nothing, expected a file or a new name");
    return writable_target(real);
  }
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    throw IoError(shown_path(path), "", found_expected(file_type_name(status.st_mode), "a regular file or a new name"));
  if (path.filename().empty()) throw IoError(shown_path(path), "", "found no file name, expected one");
  return path;
}

}  // namespace detail

/// A file that appears under its name whole or not at all. Bytes go to a temporary file in the same folder; `commit`
/// makes them durable and renames it into place. Without a commit, and on every error, the temporary file is removed
/// and what stood under the name before stays.
class AtomicFile {
 public:
  /// Throws IoError when the folder cannot be written or `path` is a directory, device or FIFO, or a link to one.
  explicit AtomicFile(const std::filesystem::path& path)
      : shown_(shown_path(path)), target_(detail::writable_target(path)) {
    for (int attempt = 0; !descriptor_.valid(); ++attempt) {
      temporary_ = folder() / ("." + target_.filename().string().substr(0, 200) + "." + std::to_string(::getpid()) +
                               "-" + std::to_string(attempt) + ".tmp");
      descriptor_ = FileDescriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      if (!descriptor_.valid() && (errno != EEXIST || attempt == 10'000)) {
        const int code = errno;
        temporary_.clear();
        fail("creating a file in its folder", code);
      }
    }
  }
  ~AtomicFile() { discard(); }
  AtomicFile(AtomicFile&& other) noexcept
      : shown_(std::move(other.shown_)),
        target_(std::move(other.target_)),
        temporary_(std::exchange(other.temporary_, {})),
        descriptor_(std::move(other.descriptor_)),
        buffer_(std::move(other.buffer_)),
        size_(other.size_) {}
  AtomicFile& operator=(AtomicFile&&) = delete;

  /// Adds bytes at the end. Throws IoError (a full disk, a quota, a file size limit ...).
  void append(std::span<const std::byte> bytes) {
    size_ += bytes.size();
    if (buffer_.size() + bytes.size() < buffer_bytes) {
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
      return;
    }
    flush();
    write(bytes);
  }
  void append(std::string_view text) { append(std::as_bytes(std::span(text.data(), text.size()))); }

  /// Bytes added so far.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// The name asked for, as shown in messages.
  [[nodiscard]] const std::string& name() const noexcept { return shown_; }

  /// Writes everything to the device, then gives the file its name. Throws IoError; the file is then not there.
  void commit() {
    flush();
    if (::fsync(descriptor_.get()) != 0) fail("writing to the device", errno);
    if (::close(descriptor_.release()) != 0) fail("closing", errno);
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("renaming into place", errno);
    temporary_.clear();
    const FileDescriptor directory(::open(folder().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // Some file systems cannot sync a directory (EINVAL); they order renames themselves.
    if (directory.valid() && ::fsync(directory.get()) != 0 && errno != EINVAL)
      fail("writing the folder to the device", errno);
  }

 private:
  static constexpr std::size_t buffer_bytes = std::size_t{1} << 20;

  [[nodiscard]] std::filesystem::path folder() const {
    return target_.has_parent_path() ? target_.parent_path() : std::filesystem::path(".");
  }

  [[noreturn]] void fail(const std::string& doing, int code) {
    discard();
    throw IoError(shown_, doing, std::strerror(code));
  }

  void discard() noexcept {
    descriptor_.reset();
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
    temporary_.clear();
  }

  void flush() {
    write(buffer_);
    buffer_.clear();
  }

  void write(std::span<const std::byte> bytes) {
    const detail::FileSizeSignalBlock no_signal;
    constexpr std::size_t most = std::size_t{1} << 30;  // one call writes less than 2 GiB
    while (!bytes.empty()) {
      if (!descriptor_.valid()) fail("writing", EBADF);
      const ssize_t written = ::write(descriptor_.get(), bytes.data(), std::min(bytes.size(), most));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("writing", errno);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  std::string shown_;
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  FileDescriptor descriptor_;
  std::vector<std::byte> buffer_;
  std::uint64_t size_ = 0;
};

/// Writes a whole file at once, atomically. Throws IoError.
inline void write_file(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.append(content);
  file.commit();
}

}  // namespace lisa
