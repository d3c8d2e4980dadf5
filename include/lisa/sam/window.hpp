#pragma once

#include <vector>

#include "lisa/config/dim.hpp"

namespace lisa {

/// Neighbouring attention windows along one axis that hold equally many tokens.
struct WindowRun {
  dim start;   ///< first token
  dim count;   ///< windows
  dim extent;  ///< tokens of each window; below the window's side only for the last, clipped one
  bool operator==(const WindowRun&) const = default;
};

/// Cuts an axis of `grid` tokens into windows of `side`, in order: the whole windows, then the clipped one if there is
/// a remainder. A side of at least `grid` gives one window.
[[nodiscard]] inline std::vector<WindowRun> window_runs(dim grid, dim side) {
  std::vector<WindowRun> runs;
  const dim whole = grid / side, rest = grid % side;
  if (whole > 0) runs.push_back({0, whole, side});
  if (rest > 0) runs.push_back({whole * side, 1, rest});
  return runs;
}

}  // namespace lisa
