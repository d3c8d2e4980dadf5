#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "lisa/base/error.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// A file that grows at its end, such as a log.
class AppendFile {
 public:
  /// Opens or makes a regular file and cuts it to at most `kept_bytes`.
  /// Throws IoError; a directory, device or FIFO is refused.
  explicit AppendFile(const std::filesystem::path& path,
                      std::uint64_t kept_bytes = std::numeric_limits<std::uint64_t>::max())
      : name_(shown_path(path)) {
    const std::filesystem::path target = detail::writable_target(path);
    descriptor_ = FileDescriptor(::open(target.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666));
    if (!descriptor_.valid()) fail("opening");
    struct stat status{};
    if (::fstat(descriptor_.get(), &status) != 0) fail("reading its status");
    size_ = static_cast<std::uint64_t>(status.st_size);
    if (size_ > kept_bytes) cut(kept_bytes);
  }

  /// Adds text at the end in one piece. When it throws, the file is as long as before.
  /// Throws IoError (a full disk, a quota, a file size limit ...).
  void append(std::string_view text) {
    const detail::FileSizeSignalBlock no_signal;
    for (std::string_view rest = text; !rest.empty();) {
      const ssize_t written = ::write(descriptor_.get(), rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        const int code = errno;
        static_cast<void>(::ftruncate(descriptor_.get(), static_cast<off_t>(size_)) == 0);
        errno = code;
        fail("writing");
      }
      rest.remove_prefix(static_cast<std::size_t>(written));
    }
    size_ += text.size();
  }

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// The name as shown in messages.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  [[noreturn]] void fail(const std::string& doing) const { throw IoError(name_, doing, std::strerror(errno)); }

  void cut(std::uint64_t size) {
    if (::ftruncate(descriptor_.get(), static_cast<off_t>(size)) != 0) fail("cutting");
    size_ = size;
  }

  std::string name_;
  FileDescriptor descriptor_;
  std::uint64_t size_ = 0;
};

}  // namespace lisa
