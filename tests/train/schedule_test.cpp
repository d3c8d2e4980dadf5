// torch-free
#include "lisa/train/schedule.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

using namespace lisa;

namespace {

std::vector<double> rates(const Schedule& schedule, std::int64_t steps) {
  std::vector<double> found;
  for (std::int64_t step = 0; step < steps; ++step) found.push_back(learning_rate(schedule, step));
  return found;
}

void check_equal(const std::vector<double>& found, const std::vector<double>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-12));
}

}  // namespace

TEST_CASE("the rate rises over the warm-up and falls to 0 at the last step") {
  check_equal(rates({.peak = 8, .warmup = 4, .total = 8}, 10), {2, 4, 6, 8, 6, 4, 2, 0, 0, 0});
  check_equal(rates({.peak = 3, .warmup = 0, .total = 4, .decay = Decay::constant}, 6), {3, 3, 3, 3, 3, 3});
  check_equal(rates({.peak = 2, .warmup = 1, .total = 5, .decay = Decay::cosine}, 6),
              {2, 1 + 0.70710678118654752, 1, 1 - 0.70710678118654752, 0, 0});
}

TEST_CASE("DeepSpeed's schedules lag a step behind and differ in the first rate") {
  check_equal(rates({.peak = 4, .warmup = 2, .total = 6, .start = ScheduleStart::deepspeed_0_10}, 8),
              {4, 0, 2, 4, 3, 2, 1, 0});
  check_equal(rates({.peak = 4, .warmup = 2, .total = 6, .start = ScheduleStart::deepspeed_0_15}, 8),
              {0, 0, 2, 4, 3, 2, 1, 0});
}

TEST_CASE("a run without steps after its warm-up ends at 0") {
  check_equal(rates({.peak = 1, .warmup = 2, .total = 2}, 4), {0.5, 0, 0, 0});
}
