#include "process_group.hpp"

#include <c10/util/Logging.h>

#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>

#include "lisa/train/process_group_gloo.hpp"
#include "lisa/train/process_place.hpp"

namespace lisa::program {

ProcessPlace launched_place() {
  return process_place([](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  });
}

std::unique_ptr<ProcessGroup> join_launched_group() {
  const ProcessPlace place = launched_place();
  if (place.world_size > 1) {
    std::signal(SIGPIPE, SIG_IGN);  // a lost connection is an error to report
    c10::initLogging();             // c10d's own warnings follow TORCH_CPP_LOG_LEVEL
  }
  return join_process_group(place);
}

}  // namespace lisa::program
