#pragma once

#include <time.h>

#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"

namespace lisa::test {

/// What a bad input must give, whatever its format. One row of a table of bad inputs.
struct BadInput {
  std::string row;                    ///< id of the case, for the report of a failing test
  std::optional<ErrorKind> kind{};    ///< kind of error, when only one is right
  std::string file{};                 ///< text that names the file in the message; empty: no file is involved
  std::vector<std::string> words{};   ///< every one of these must occur in the message
  std::filesystem::path unchanged{};  ///< folder that must hold the same files with the same bytes afterwards
  std::uintmax_t input_bytes = 0;     ///< size of the input: the bounds on memory and time grow with it
};

namespace detail {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool instrumented = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool instrumented = true;
#else
inline constexpr bool instrumented = false;
#endif
#else
inline constexpr bool instrumented = false;
#endif

/// One line of /proc/self/status in bytes, such as "VmHWM:".
inline std::uintmax_t memory_status(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != field) continue;
    std::uintmax_t kib = 0;
    status >> kib;
    return kib * 1024;
  }
  return 0;
}

/// Makes the kernel count the peak resident memory from now on.
inline void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << '5'; }

inline double process_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Every entry below a folder with its content (links and special files by their type only).
inline std::map<std::string, std::string> snapshot(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::map<std::string, std::string> entries;
  if (folder.empty() || !fs::exists(folder)) return entries;
  for (const fs::directory_entry& entry :
       fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied)) {
    std::string& value = entries[entry.path().string()];
    const fs::file_status status = entry.symlink_status();
    value = std::to_string(static_cast<int>(status.type()));
    if (status.type() != fs::file_type::regular) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    value.append(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return entries;
}

inline std::string message_of(const std::function<void()>& attempt, std::optional<ErrorKind>& kind,
                              std::string& failure) {
  try {
    attempt();
    failure = "it was accepted";
  } catch (const Error& error) {
    kind = error.kind();
    return error.what();
  } catch (const std::exception& error) {
    failure = std::string("it threw something else than lisa::Error: ") + error.what();
  }
  return {};
}

}  // namespace detail

/// Runs `attempt`, which must fail, and gives in words every promise about bad input that it broke; "" when it kept
/// them all: it throws a lisa::Error of the expected kind whose message names the file and every expected word and is
/// printable, the message is the same on a second run, peak memory grows by at most 64 MiB + 2 x the input and
/// processor time stays within 1 s + 1 s per 64 MiB (four times that under a sanitizer, where memory is not judged),
/// and the files under `unchanged` are as before.
///
///   CHECK(broken_promises({.row = "9", .file = "a.safetensors", .words = {"1 byte"}}, [&] { read(path); }) == "");
[[nodiscard]] inline std::string broken_promises(const BadInput& expected, const std::function<void()>& attempt) {
  std::string broken;
  const auto complain = [&](const std::string& what) { broken += "row " + expected.row + ": " + what + "\n"; };
  const auto before = detail::snapshot(expected.unchanged);

  detail::reset_peak_memory();
  const std::uintmax_t memory_before = detail::memory_status("VmRSS:");
  const double start = detail::process_seconds();
  std::optional<ErrorKind> kind;
  std::string failure;
  const std::string message = detail::message_of(attempt, kind, failure);
  const double seconds = detail::process_seconds() - start;
  const std::uintmax_t memory_after = detail::memory_status("VmHWM:");

  constexpr std::uintmax_t mib = 1 << 20;
  if (!failure.empty()) {
    complain(failure);
    return broken;
  }
  if (expected.kind && kind != expected.kind)
    complain("error kind " + std::to_string(static_cast<int>(*kind)) + ", expected " +
             std::to_string(static_cast<int>(*expected.kind)) + ": " + message);
  if (message.find(expected.file) == std::string::npos)
    complain("the message does not name the file " + expected.file + ": " + message);
  for (const std::string& word : expected.words)
    if (message.find(word) == std::string::npos) complain("the message does not say \"" + word + "\": " + message);
  for (const char c : message)
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7F) {
      complain("the message holds a control character");
      break;
    }
  if (!detail::instrumented && memory_after > memory_before + 64 * mib + 2 * expected.input_bytes)
    complain("peak memory grew by " + std::to_string((memory_after - memory_before) / mib) + " MiB");
  const double allowed =
      (detail::instrumented ? 4.0 : 1.0) * (1.0 + static_cast<double>(expected.input_bytes / mib) / 64);
  if (seconds > allowed) complain("it took " + std::to_string(seconds) + " s of processor time");

  std::optional<ErrorKind> second_kind;
  std::string second_failure;
  const std::string second_message = detail::message_of(attempt, second_kind, second_failure);
  if (!second_failure.empty()) complain("second run: " + second_failure);
  if (second_message != message) complain("second run, other message: " + message + " / " + second_message);
  if (detail::snapshot(expected.unchanged) != before) complain("files were changed");
  return broken;
}

}  // namespace lisa::test
