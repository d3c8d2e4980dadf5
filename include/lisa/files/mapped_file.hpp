#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"

namespace lisa {

/// A path as it is shown in messages.
[[nodiscard]] inline std::string shown_path(const std::filesystem::path& path) {
  return printable(path.string(), 1024);
}

/// A file descriptor that closes itself.
class FileDescriptor {
 public:
  explicit FileDescriptor(int descriptor = -1) noexcept : descriptor_(descriptor) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      reset();
      descriptor_ = std::exchange(other.descriptor_, -1);
    }
    return *this;
  }

  [[nodiscard]] int get() const noexcept { return descriptor_; }
  [[nodiscard]] bool valid() const noexcept { return descriptor_ >= 0; }
  void reset() noexcept {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  }
  /// Gives up ownership without closing.
  [[nodiscard]] int release() noexcept { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

/// What a directory entry is, in a word for messages: "a directory", "a FIFO" ...
[[nodiscard]] inline std::string file_type_name(mode_t mode) {
  if (S_ISREG(mode)) return "a regular file";
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISLNK(mode)) return "a symbolic link";
  return "a special file";
}

/// A regular file opened for reading, and its length at that moment.
struct OpenedFile {
  FileDescriptor descriptor;
  std::uint64_t size = 0;
};

/// Opens a regular file for reading; never blocks on a FIFO or a device.
/// Throws IoError when the system refuses or `path` is no regular file.
[[nodiscard]] inline OpenedFile open_regular_file(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a FIFO for reading would otherwise wait for a writer before fstat can refuse it.
  FileDescriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!descriptor.valid()) throw IoError(shown_path(path), "", std::string("cannot open: ") + std::strerror(errno));
  struct stat status{};
  if (::fstat(descriptor.get(), &status) != 0)
    throw IoError(shown_path(path), "", std::string("cannot read its status: ") + std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    throw IoError(shown_path(path), "", found_expected(file_type_name(status.st_mode), "a regular file"));
  return {std::move(descriptor), static_cast<std::uint64_t>(status.st_size)};
}

namespace detail {

/// One live mapping as the SIGBUS handler sees it. Nodes are never freed, only reused, so that the handler may walk
/// the list at any moment.
struct MappingNode {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<int> protection{0};
  std::uintptr_t page_size = 0;
  std::atomic<bool> damaged{false};
  std::atomic<bool> used{true};
  MappingNode* next = nullptr;
};

// A signal handler reaches nothing but objects of static storage: these are the only ones of the library.
inline std::atomic<MappingNode*> mapping_list{nullptr};
inline struct sigaction previous_sigbus{};

/// Size of a memory page, a power of two.
inline std::uintptr_t page_size() { return static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE)); }

inline MappingNode* register_mapping(std::uintptr_t begin, std::uintptr_t size, int protection) {
  MappingNode* node = mapping_list.load(std::memory_order_acquire);
  for (; node != nullptr; node = node->next) {
    bool free = false;
    if (node->used.compare_exchange_strong(free, true)) break;
  }
  if (node == nullptr) {
    node = new MappingNode;
    node->page_size = page_size();
    node->next = mapping_list.load(std::memory_order_relaxed);
    while (!mapping_list.compare_exchange_weak(node->next, node, std::memory_order_release)) {
    }
  }
  node->damaged = false;
  node->protection = protection;
  node->end = (begin + size + node->page_size - 1) & ~(node->page_size - 1);
  node->begin = begin;
  return node;
}

inline void unregister_mapping(MappingNode* node) {
  node->begin = 0;
  node->end = 0;
  node->used = false;
}

/// Async-signal-safe: touches lock-free atomics, `mmap` and `sigaction` only.
inline void handle_sigbus(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (MappingNode* node = mapping_list.load(std::memory_order_acquire); node != nullptr; node = node->next) {
    const std::uintptr_t begin = node->begin.load();
    const std::uintptr_t end = node->end.load();
    if (address < begin || address >= end) continue;
    // Everything from the fault on is gone with the file's end: one zero mapping, not one per page.
    const std::uintptr_t first = address & ~(node->page_size - 1);
    void* const zeros = ::mmap(reinterpret_cast<void*>(first), end - first, node->protection.load(),
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED) break;
    node->damaged.store(true);
    errno = saved_errno;
    return;
  }
  errno = saved_errno;
  if ((previous_sigbus.sa_flags & SA_SIGINFO) != 0 && previous_sigbus.sa_sigaction != nullptr) {
    previous_sigbus.sa_sigaction(signal, info, context);
  } else if (previous_sigbus.sa_handler != SIG_DFL && previous_sigbus.sa_handler != SIG_IGN) {
    previous_sigbus.sa_handler(signal);
  } else {
    struct sigaction fatal{};
    fatal.sa_handler = SIG_DFL;
    ::sigaction(signal, &fatal, nullptr);  // on return the access faults again and ends the process as it should
  }
}

inline std::mutex truncation_guard_mutex;
inline int truncation_guards = 0;

}  // namespace detail

/// While one of these lives, a mapped file that another process truncates does not kill this process: the lost part
/// reads as zeros, the mapping counts as damaged (`MappedFile::intact`), and bus errors anywhere else go to the handler
/// that was installed before. Opt-in, because signal handlers belong to the program: make one in `main`.
class TruncationGuard {
 public:
  TruncationGuard() {
    const std::scoped_lock lock(detail::truncation_guard_mutex);
    if (detail::truncation_guards == 0) {
      struct sigaction action{};
      action.sa_sigaction = detail::handle_sigbus;
      action.sa_flags = SA_SIGINFO | SA_ONSTACK;
      sigemptyset(&action.sa_mask);
      if (::sigaction(SIGBUS, &action, &detail::previous_sigbus) != 0)
        throw IoError("", "SIGBUS", std::string("cannot install a handler: ") + std::strerror(errno));
    }
    ++detail::truncation_guards;
  }
  ~TruncationGuard() {
    const std::scoped_lock lock(detail::truncation_guard_mutex);
    if (--detail::truncation_guards > 0) return;
    struct sigaction current{};
    if (::sigaction(SIGBUS, nullptr, &current) == 0 && (current.sa_flags & SA_SIGINFO) != 0 &&
        current.sa_sigaction == detail::handle_sigbus)
      ::sigaction(SIGBUS, &detail::previous_sigbus, nullptr);
  }
  TruncationGuard(const TruncationGuard&) = delete;
  TruncationGuard& operator=(const TruncationGuard&) = delete;
};

/// How the pages of a MappedFile may be used. With `copy_on_write`, writing to them is allowed and changes this
/// process' private copy, never the file.
enum class MappedAccess { read_only, copy_on_write };

/// The bytes of a regular file, mapped privately: nothing is read until it is touched, and nothing counts as
/// anonymous memory. The length is the one at opening; see TruncationGuard for files that shrink later.
class MappedFile {
 public:
  /// Throws IoError when the file cannot be opened or mapped, or is a directory, FIFO or device.
  explicit MappedFile(const std::filesystem::path& path, MappedAccess access = MappedAccess::read_only)
      : name_(shown_path(path)) {
    const OpenedFile file = open_regular_file(path);
    size_ = file.size;
    if (size_ == 0) return;  // mmap refuses length 0
    const int protection = access == MappedAccess::read_only ? PROT_READ : PROT_READ | PROT_WRITE;
    void* const data = ::mmap(nullptr, size_, protection, MAP_PRIVATE | MAP_NORESERVE, file.descriptor.get(), 0);
    if (data == MAP_FAILED) throw IoError(name_, "", std::string("cannot map: ") + std::strerror(errno));
    data_ = static_cast<std::byte*>(data);
    ask_for_large_pages();
    node_ = detail::register_mapping(reinterpret_cast<std::uintptr_t>(data_), size_, protection);
  }
  ~MappedFile() {
    if (data_ == nullptr) return;
    detail::unregister_mapping(node_);
    ::munmap(data_, size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  /// The path as shown in messages.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }
  /// Writable only when opened with `MappedAccess::copy_on_write`.
  [[nodiscard]] std::byte* data() const noexcept { return data_; }

  /// False once a part of the file was found missing; needs a TruncationGuard to be alive at that moment.
  [[nodiscard]] bool intact() const noexcept { return node_ == nullptr || !node_->damaged.load(); }
  /// Throws IoError naming the file when it is not intact.
  void require_intact() const {
    if (!intact())
      throw IoError(name_, "", "the file became shorter than " + std::to_string(size_) + " bytes while it was in use");
  }

  /// Brings [begin, begin + length) into memory with few page faults; a hint, so failure is ignored.
  void populate(std::uint64_t begin, std::uint64_t length) const noexcept {
#if defined(MADV_POPULATE_READ)
    if (begin >= size_) return;
    const std::uint64_t page_begin = begin & ~(detail::page_size() - 1);
    ::madvise(data_ + page_begin, std::min(length + (begin - page_begin), size_ - page_begin), MADV_POPULATE_READ);
#else
    static_cast<void>(begin);
    static_cast<void>(length);
#endif
  }

  /// Gives the whole pages inside [begin, begin + length) back to the page cache, so that bytes that were read once do
  /// not count as memory of the process; touching them again reads them again. Changes made through `data()` are lost.
  void release(std::uint64_t begin, std::uint64_t length) const noexcept {
    const std::uint64_t page = detail::page_size();
    const std::uint64_t first = (begin + page - 1) / page * page;
    const std::uint64_t end = std::min(begin + length, size_) / page * page;
    if (first < end) ::madvise(data_ + first, end - first, MADV_DONTNEED);
  }

 private:
  /// Weights that are read for every token are read from one end to the other, and with pages of 4 KiB a processor
  /// spends a good part of that time on finding them. A hint, which a system may not know: it concerns what is not yet
  /// cached.
  void ask_for_large_pages() const noexcept {
#if defined(MADV_HUGEPAGE)
    ::madvise(data_, size_, MADV_HUGEPAGE);
#endif
  }

  std::string name_;
  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
  detail::MappingNode* node_ = nullptr;
};

}  // namespace lisa
