// Says what the threads of a launch that cannot go on are waiting for.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "launch_state.hpp"

namespace simt {

namespace {

constexpr std::array collective_names{"nothing",
                                      "sync_warp",
                                      "a shuffle",
                                      "a ballot",
                                      "a matrix load",
                                      "a matrix product",
                                      "a fence of products",
                                      "a product of the warpgroup",
                                      "a commit of products",
                                      "a wait for products"};

std::string at(const Site& site) {
  const char* const slash = std::strrchr(site.file, '/');
  return std::string(slash != nullptr ? slash + 1 : site.file) + ":" + std::to_string(site.line);
}

}  // namespace

std::string Launch::describe(const Thread& thread) const {
  std::string text = "thread " + std::to_string(thread.index) + " of block " + std::to_string(block_.x) + "," +
                     std::to_string(block_.y) + "," + std::to_string(block_.z);
  if (thread.state == State::at_barrier) text += " waits in barrier at " + at(thread.site);
  if (thread.state == State::at_collective)
    text += std::string(" waits in ") + collective_names[static_cast<std::size_t>(thread.collective)] + " at " +
            at(thread.site);
  if (thread.state == State::at_phase)
    text += " waits for a phase at " + at(thread.site) + ": " + transactions_.missing(thread);
  return text;
}

/// No thread can go on: says whom the first waiting one waits for.
void Launch::diagnose_standstill() {
  const auto waits = [](const Thread& t) { return t.state != State::exited; };
  const auto first_of = [&](State state) {
    return std::find_if(threads_.begin(), threads_.end(), [&](const Thread& t) { return t.state == state; });
  };
  const auto exited = first_of(State::exited);
  if (const auto lane = first_of(State::at_collective); lane != threads_.end()) {
    const int lanes = of_warpgroup(lane->collective) ? 4 * warp_lanes : warp_lanes;
    for (const Thread& other : threads_)
      if (other.index / lanes == lane->index / lanes && other.state != State::at_collective) {
        report_.fault = (lanes == warp_lanes ? "divergent warp: " : "divergent warpgroup: ") + describe(*lane) + "; " +
                        describe(other) + (other.state == State::exited ? " has ended" : "");
        return;
      }
  }
  if (const auto waiting = first_of(State::at_phase); waiting != threads_.end()) {
    report_.fault = "a phase never ends: " + describe(*waiting);
    return;
  }
  const auto first = std::find_if(threads_.begin(), threads_.end(), waits);
  for (const Thread& other : threads_)
    if (other.state == State::at_barrier && other.site != first->site) {
      report_.fault = "divergent barrier: " + describe(*first) + "; " + describe(other);
      return;
    }
  report_.fault = "divergent barrier: " + describe(*first) + "; " +
                  (exited != threads_.end() ? describe(*exited) + " has ended" : "its number of threads never comes");
}

}  // namespace simt
