#pragma once

#include <c10/util/Logging.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/train/process_group_gloo.hpp"
#include "lisa/train/process_place.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/free_port.hpp"
#include "tests/support/temp_dir.hpp"

namespace lisa::test {

using Environment = std::map<std::string, std::string>;

inline std::optional<std::string> variable(const std::string& name) {
  const char* const value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

inline constexpr lisa::GroupPatience patience{.join = std::chrono::seconds(60),
                                              .operation = std::chrono::seconds(6),
                                              .heartbeat = std::chrono::milliseconds(250)};

/// The part of a process in a test: joins, works, prints what went wrong, ends.
[[noreturn]] inline void run_role(const std::function<void(ProcessGroup&)>& work) {
  std::signal(SIGPIPE, SIG_IGN);
  c10::initLogging();  // reads TORCH_CPP_LOG_LEVEL
  int code = 0;
  try {
    lisa::GroupPatience with = patience;
    if (const auto join = variable("TEST_JOIN_MS")) with.join = std::chrono::milliseconds(std::stoi(*join));
    const auto group = lisa::join_process_group(lisa::process_place(variable), with);
    work(*group);
  } catch (const lisa::Error& error) {
    std::printf("ERROR %s\n", error.what());
    code = 3;
  } catch (const std::exception& error) {
    std::printf("OTHER %s\n", error.what());
    code = 4;
  }
  std::fflush(stdout);
  ::_exit(code);
}

/// Starts the processes of a group; each runs the test case again, in the given role.
inline std::vector<ChildProcess> start(const std::string& test_case, int count, const std::string& port,
                                       const TempDir& folder, const std::function<Environment(int rank)>& role) {
  std::vector<ChildProcess> processes;
  for (int rank = 0; rank < count; ++rank) {
    Environment environment{{"RANK", std::to_string(rank)},
                            {"WORLD_SIZE", std::to_string(count)},
                            {"MASTER_ADDR", "127.0.0.1"},
                            {"MASTER_PORT", port},
                            {"OMP_NUM_THREADS", "1"},
                            {"TORCH_CPP_LOG_LEVEL", "FATAL"},
                            {"TEST_FOLDER", folder.path().string()}};
    for (const auto& [name, value] : role(rank)) environment[name] = value;
    processes.emplace_back(test_case, environment, folder / ("output-" + port + "-" + std::to_string(rank)));
  }
  return processes;
}

inline constexpr double end_of_patience = 120;  // a process that hangs, whatever the machine's load

}  // namespace lisa::test
