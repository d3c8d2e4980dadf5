#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "access_history.hpp"
#include "lisa/cuda/launch_geometry.hpp"
#include "memory.hpp"

namespace simt {

/// In which order the blocks run, one after the other, and in which the threads of a block get on, between the points
/// where they must wait for each other. With `forward` asynchronous copies read their source when they are issued, with
/// `reverse` when they are waited for.
enum class Schedule { forward, reverse, random };
inline constexpr std::array schedules{Schedule::forward, Schedule::reverse, Schedule::random};

struct LaunchOptions {
  Schedule schedule = Schedule::forward;
  unsigned seed = 1;
  unsigned shared_granularity = 2;  ///< bytes of the smallest access to shared memory
};

/// What a launch came to.
struct Report {
  std::string fault;              ///< why the launch was stopped; empty when every thread reached its end
  std::vector<Finding> findings;  ///< the first of each pair of places
  std::size_t repeated = 0;       ///< further findings of pairs of places that are listed
  std::uint32_t threads = 0;      ///< of a block
  [[nodiscard]] bool clean() const { return fault.empty() && findings.empty(); }
  /// Fault and findings with source lines.
  [[nodiscard]] std::string text() const;
};

namespace detail {

struct Arguments {
  const void* begin;
  std::size_t bytes;
};

Report launch(Memory& memory, const lisa::cuda::LaunchGeometry& geometry, const std::function<void()>& thread,
              Arguments arguments, const LaunchOptions& options);

}  // namespace detail

/// Runs `kernel` for every thread of the grid, block after block; an empty grid is nothing to do. Kernels must be in a
/// source file of their own that is compiled with -fsanitize=thread, so that their accesses to memory are seen (see
/// sanitizer_callbacks.cpp).
/// @throws std::invalid_argument for a geometry that no GPU would start
template <class Argument>
Report launch(Memory& memory, const lisa::cuda::LaunchGeometry& geometry, void (*kernel)(const Argument&),
              const Argument& argument, const LaunchOptions& options = {}) {
  return detail::launch(memory, geometry, [&] { kernel(argument); }, {&argument, sizeof argument}, options);
}

}  // namespace simt
