#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/files/writable_folder.hpp"
#include "lisa/train/retention.hpp"
#include "lisa/train/train_state.hpp"
#include "lisa/train/train_state_files.hpp"

namespace lisa {

/// A saved state by its place.
struct SavedState {
  std::int64_t step = 0;
  std::filesystem::path folder;
};

/// The newest state that is complete.
struct NewestState {
  TrainState state;
  std::filesystem::path folder;
  std::vector<std::string> passed_over;  ///< newer ones with what is wrong with each
};

namespace detail {

inline constexpr std::string_view state_prefix = "step-";

[[nodiscard]] inline std::string state_folder_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return name;
}

/// The step in a folder's name; nothing for other names.
[[nodiscard]] inline std::optional<std::int64_t> step_of(std::string_view name) {
  if (!name.starts_with(state_prefix)) return std::nullopt;
  name.remove_prefix(state_prefix.size());
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size() || step < 0) return std::nullopt;
  return step;
}

/// Brings a folder's entries to the device. Throws IoError.
inline void sync_folder(const std::filesystem::path& folder) {
  const FileDescriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) throw IoError(shown_path(folder), "opening the folder", std::strerror(errno));
  // Some file systems cannot sync a directory (EINVAL); they order renames themselves.
  if (::fsync(directory.get()) != 0 && errno != EINVAL)
    throw IoError(shown_path(folder), "writing the folder to the device", std::strerror(errno));
}

inline void rename_folder(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    throw IoError(shown_path(to), "renaming " + shown_path(from.filename()) + " into place", std::strerror(errno));
}

/// Removes a hidden left-over. Throws IoError.
inline void remove_tree(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  if (error) throw IoError(shown_path(folder), "removing", error.message());
}

/// A folder that is being filled; removed with its content unless `keep` was called.
class FolderInProgress {
 public:
  explicit FolderInProgress(std::filesystem::path path) : path_(std::move(path)) {
    if (::mkdir(path_.c_str(), 0777) != 0)
      throw IoError(shown_path(path_), "creating the folder", std::strerror(errno));
  }
  ~FolderInProgress() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  FolderInProgress(const FolderInProgress&) = delete;
  FolderInProgress& operator=(const FolderInProgress&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  void keep() noexcept { path_.clear(); }

 private:
  std::filesystem::path path_;
};

}  // namespace detail

/// The states in a folder, complete or not, newest first: by their steps, whatever the clock said. A folder that is not
/// there has none. Throws IoError.
[[nodiscard]] inline std::vector<SavedState> list_train_states(const std::filesystem::path& folder) {
  std::vector<SavedState> states;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (const auto step = detail::step_of(entry->path().filename().string())) states.push_back({*step, entry->path()});
  if (error && error != std::errc::no_such_file_or_directory)
    throw IoError(shown_path(folder), "listing the folder", error.message());
  std::sort(states.begin(), states.end(), [](const SavedState& a, const SavedState& b) { return a.step > b.step; });
  return states;
}

/// Reads the newest complete state of a folder and says which newer ones it passed over, and why. Nothing when there
/// is none at all. Throws IoError; FormatError when there are some and none is complete.
[[nodiscard]] inline std::optional<NewestState> read_newest_train_state(const std::filesystem::path& folder) {
  std::vector<std::string> passed_over;
  for (const SavedState& saved : list_train_states(folder)) {
    try {
      TrainState state = read_train_state(saved.folder);
      if (state.step != saved.step)
        throw FormatError(shown_path(saved.folder), "step",
                          found_expected(std::to_string(state.step), std::to_string(saved.step) + " as in its name"));
      return NewestState{std::move(state), saved.folder, std::move(passed_over)};
    } catch (const Error& error) {
      passed_over.emplace_back(error.what());
    }
  }
  if (passed_over.empty()) return std::nullopt;
  Defects defects;
  for (std::string& reason : passed_over) defects.add(std::move(reason));
  throw FormatError(shown_path(folder), "", "found no complete training state: " + defects.report("broken ones"));
}

/// The complete state with the best score; nothing when none has a score. Throws IoError.
[[nodiscard]] inline std::optional<TrainState> read_best_train_state(const std::filesystem::path& folder) {
  std::optional<TrainState> best;
  for (const SavedState& saved : list_train_states(folder)) {
    try {
      const std::optional<double> score = read_train_state_numbers(saved.folder).score;
      if (score && (!best || *score > *best->score)) best = read_train_state(saved.folder);
    } catch (const FormatError&) {  // an incomplete one; `read_newest_train_state` says what is wrong with it
    }
  }
  return best;
}

/// The states of one run in a folder: `step-00000120/` and so on. A state is written under a hidden name in the same
/// folder, brought to the device, and then renamed; older ones go only after that. So at every moment, power cuts
/// included, the states that have a visible name are complete, and a failed save changes nothing.
///
/// While a store lives no other one can be made for its folder, in this process or another; reading needs no store.
class TrainStateStore {
 public:
  /// Makes the folder when it is not there, locks it, and removes what an interrupted save left behind.
  /// Throws IoError (no folder, not writable, in use by another process), InputError (`retention.last` below 1).
  explicit TrainStateStore(std::filesystem::path folder, Retention retention = {})
      : folder_(std::move(folder)), retention_(retention) {
    if (retention_.last < 1)
      throw InputError("states to keep", found_expected(std::to_string(retention_.last), "at least 1"));
    make_writable_folder(folder_);
    lock();
    clear_left_overs();
  }

  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }
  /// Names of the unfinished saves and removals that were cleaned up at the start.
  [[nodiscard]] const std::vector<std::string>& cleaned() const noexcept { return cleaned_; }

  /// Saves a state, then removes those that the retention does not keep. When it throws, every complete state that was
  /// there before still is, unless only the removal of an old one failed. Gives the state's folder.
  /// Throws IoError; InputError when a complete state of this step is there already.
  std::filesystem::path save(const TrainState& state) {
    const std::filesystem::path target = folder_ / detail::state_folder_name(state.step);
    make_room(target);
    const std::filesystem::path hidden = folder_ / ("." + target.filename().string() + ".tmp");
    detail::remove_tree(hidden);  // of an earlier attempt that could not clean up
    detail::FolderInProgress staged(hidden);
    write_train_state(staged.path(), state);
    detail::sync_folder(staged.path());
    detail::rename_folder(staged.path(), target);
    staged.keep();
    detail::sync_folder(folder_);
    prune(state.step);
    return target;
  }

 private:
  void lock() {
    const std::filesystem::path path = folder_ / ".lock";
    lock_ = FileDescriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0666));
    if (!lock_.valid()) throw IoError(shown_path(path), "creating the lock", std::strerror(errno));
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return;
    if (errno != EWOULDBLOCK) throw IoError(shown_path(path), "locking", std::strerror(errno));
    throw IoError(shown_path(folder_), "", "another process saves its training states here, expected one at a time");
  }

  void clear_left_overs() {
    std::vector<std::filesystem::path> left;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(folder_, error), end; !error && entry != end;
         entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (name.starts_with("." + std::string(detail::state_prefix)) && name.ends_with(".tmp"))
        left.push_back(entry->path());
    }
    if (error) throw IoError(shown_path(folder_), "listing the folder", error.message());
    for (const std::filesystem::path& path : left) {
      detail::remove_tree(path);
      cleaned_.push_back(path.filename().string());
    }
  }

  /// A broken state may be replaced, a complete one may not.
  void make_room(const std::filesystem::path& target) {
    struct stat status{};
    if (::lstat(target.c_str(), &status) != 0) return;
    if (!S_ISDIR(status.st_mode))
      throw IoError(shown_path(target), "", found_expected(file_type_name(status.st_mode), "a new name"));
    try {
      static_cast<void>(read_train_state(target));
    } catch (const Error&) {
      remove_state(target);
      return;
    }
    throw InputError(shown_path(target), "", "found a complete training state, expected a new name");
  }

  /// Takes the visible name away first, so that a half removed state is never taken for one.
  void remove_state(const std::filesystem::path& state) {
    const std::filesystem::path hidden = folder_ / ("." + state.filename().string() + ".removed.tmp");
    detail::remove_tree(hidden);
    detail::rename_folder(state, hidden);
    detail::sync_folder(folder_);
    detail::remove_tree(hidden);
  }

  void prune(std::int64_t saved_step) {
    struct Candidate {
      SavedState saved;
      bool readable = false;
      std::optional<double> score;
    };
    std::vector<Candidate> candidates;
    for (SavedState& saved : list_train_states(folder_)) {
      Candidate& candidate = candidates.emplace_back();
      candidate.saved = std::move(saved);
      try {
        candidate.score = read_train_state_numbers(candidate.saved.folder).score;
        candidate.readable = true;
      } catch (const Error&) {  // its reader says what is wrong with it
      }
    }
    const Candidate* best = nullptr;
    for (const Candidate& candidate : candidates)
      if (candidate.score && (best == nullptr || *candidate.score > *best->score)) best = &candidate;
    int kept = 0;
    for (const Candidate& candidate : candidates) {
      const bool recent = kept < retention_.last || candidate.saved.step == saved_step;
      if (candidate.readable && recent) ++kept;
      if (!recent && !(retention_.best && &candidate == best)) remove_state(candidate.saved.folder);
    }
  }

  std::filesystem::path folder_;
  Retention retention_;
  FileDescriptor lock_;
  std::vector<std::string> cleaned_;
};

}  // namespace lisa
