// torch-free
#include "lisa/sam/window.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

namespace {

using lisa::window_runs;
using lisa::WindowRun;

TEST_CASE("SAM's 64 tokens are four whole windows of 14 and one of 8") {
  CHECK(window_runs(64, 14) == std::vector<WindowRun>{{0, 4, 14}, {56, 1, 8}});
  CHECK(window_runs(64, 64) == std::vector<WindowRun>{{0, 1, 64}});
  CHECK(window_runs(5, 14) == std::vector<WindowRun>{{0, 1, 5}});
}

TEST_CASE("runs cover the axis without gap or overlap, and only the last window is clipped") {
  CHECK(rc::check([] {
    const lisa::dim grid = *rc::gen::inRange(1, 200), side = *rc::gen::inRange(1, 200);
    lisa::dim next = 0, windows = 0;
    const auto runs = window_runs(grid, side);
    for (std::size_t i = 0; i < runs.size(); ++i) {
      RC_ASSERT(runs[i].start == next);
      RC_ASSERT(runs[i].extent == side || (i + 1 == runs.size() && runs[i].count == 1 && runs[i].extent < side));
      next += runs[i].count * runs[i].extent;
      windows += runs[i].count;
    }
    RC_ASSERT(next == grid);
    RC_ASSERT(windows == (grid + side - 1) / side);
  }));
}

}  // namespace
