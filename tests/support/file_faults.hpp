#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

/// Makes chosen file operations of this program fail. The functions below take the place of the C library's for the
/// whole program, standard and tensor libraries included, and do the same, fsync excepted, until faults are armed. To
/// be included by one source file of a test program.
namespace lisa::test {

/// What happens at the chosen operation.
enum class Fault {
  none,         ///< operations are only counted
  error,        ///< it fails with `FaultPlan::code`, once
  persistent,   ///< it and all later ones fail with `FaultPlan::code`
  short_write,  ///< a write takes half of its bytes; other operations fail with `FaultPlan::code`
  kill          ///< the process gets SIGKILL before the operation
};

struct FaultPlan {
  Fault fault = Fault::none;
  int at = 0;  ///< number of the operation, counted from 0
  int code = EIO;
};

/// A change of the file system, or a request to bring changes to the device.
struct FileOperation {
  enum class Kind { create, write, sync, rename, make_folder, remove };
  Kind kind = Kind::sync;
  std::string path;
  std::string other{};  ///< the new name, or the bytes written
};

namespace detail {

inline thread_local std::vector<FileOperation>* recording = nullptr;
inline thread_local bool faults_armed = false;
inline thread_local FaultPlan fault_plan;
inline thread_local int operations = 0;
inline thread_local bool fault_happened = false;

/// Whether the operation under way has to fail; counts it.
inline bool operation_fails() {
  if (!faults_armed) return false;
  const int number = operations++;
  const bool now = number == fault_plan.at || (fault_plan.fault == Fault::persistent && number > fault_plan.at);
  if (!now || fault_plan.fault == Fault::none) return false;
  fault_happened = true;
  if (fault_plan.fault == Fault::kill) ::kill(::getpid(), SIGKILL);
  errno = fault_plan.code;
  return true;
}

/// Notes an operation that succeeded.
inline void record(FileOperation::Kind kind, const std::string& path, const std::string& other = {}) {
  if (recording != nullptr) recording->push_back({kind, path, other});
}

/// Where a descriptor leads.
inline std::string path_of(int descriptor) {
  char target[4096];
  const ssize_t size = ::readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), target, sizeof target);
  return size < 0 ? std::string() : std::string(target, static_cast<std::size_t>(size));
}

inline std::string path_below(int folder, const char* path) {
  return folder == AT_FDCWD || *path == '/' ? std::string(path) : path_of(folder) + "/" + path;
}

}  // namespace detail

/// Records the operations of this thread while it lives.
class RecordedOperations {
 public:
  RecordedOperations() { detail::recording = &operations_; }
  ~RecordedOperations() { detail::recording = nullptr; }
  RecordedOperations(const RecordedOperations&) = delete;
  RecordedOperations& operator=(const RecordedOperations&) = delete;

  [[nodiscard]] const std::vector<FileOperation>& list() const { return operations_; }

 private:
  std::vector<FileOperation> operations_;
};

/// Counts operations, and makes one fail as planned, on this thread while it lives.
class ArmedFaults {
 public:
  explicit ArmedFaults(const FaultPlan& plan) {
    detail::fault_plan = plan;
    detail::operations = 0;
    detail::fault_happened = false;
    detail::faults_armed = true;
  }
  ~ArmedFaults() { detail::faults_armed = false; }
  ArmedFaults(const ArmedFaults&) = delete;
  ArmedFaults& operator=(const ArmedFaults&) = delete;

  [[nodiscard]] int operations() const { return detail::operations; }
  [[nodiscard]] bool happened() const { return detail::fault_happened; }
};

}  // namespace lisa::test

extern "C" {

ssize_t write(int file, const void* data, size_t size) {
  using lisa::test::Fault;
  namespace detail = lisa::test::detail;
  if (detail::operation_fails()) {
    if (detail::fault_plan.fault != Fault::short_write || size < 2) return -1;
    size /= 2;
  }
  const ssize_t written = syscall(SYS_write, file, data, size);
  if (written > 0 && detail::recording != nullptr)
    detail::record(lisa::test::FileOperation::Kind::write, detail::path_of(file),
                   std::string(static_cast<const char*>(data), static_cast<std::size_t>(written)));
  return written;
}

int open(const char* path, int flags, ...) {
  namespace detail = lisa::test::detail;
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  // Opening for reading changes nothing.
  const bool counts = (flags & (O_CREAT | O_DIRECTORY)) != 0;
  if (counts && detail::operation_fails()) return -1;
  const int file = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
  if (file >= 0 && (flags & O_CREAT) != 0) detail::record(lisa::test::FileOperation::Kind::create, path);
  return file;
}

int fsync(int file) {
  // Counted but not done: what a killed process wrote is not lost, and the device would take minutes.
  if (lisa::test::detail::operation_fails()) return -1;
  if (lisa::test::detail::recording != nullptr)
    lisa::test::detail::record(lisa::test::FileOperation::Kind::sync, lisa::test::detail::path_of(file));
  return 0;
}

int close(int file) {
  const bool fails = lisa::test::detail::operation_fails();
  const int code = errno;
  const auto result = static_cast<int>(syscall(SYS_close, file));  // a close that fails has closed nevertheless
  if (!fails) return result;
  errno = code;
  return -1;
}

int rename(const char* from, const char* to) noexcept {
  if (lisa::test::detail::operation_fails()) return -1;
  const int result = static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
  if (result == 0) lisa::test::detail::record(lisa::test::FileOperation::Kind::rename, from, to);
  return result;
}

int mkdir(const char* path, mode_t mode) noexcept {
  if (lisa::test::detail::operation_fails()) return -1;
  const int result = static_cast<int>(syscall(SYS_mkdirat, AT_FDCWD, path, mode));
  if (result == 0) lisa::test::detail::record(lisa::test::FileOperation::Kind::make_folder, path);
  return result;
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  if (lisa::test::detail::operation_fails()) return -1;
  const int result = static_cast<int>(syscall(SYS_unlinkat, folder, path, flags));
  if (result == 0 && lisa::test::detail::recording != nullptr)
    lisa::test::detail::record(lisa::test::FileOperation::Kind::remove, lisa::test::detail::path_below(folder, path));
  return result;
}

int unlink(const char* path) noexcept { return unlinkat(AT_FDCWD, path, 0); }
}
