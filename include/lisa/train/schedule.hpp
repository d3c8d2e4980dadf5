#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace lisa {

/// How the learning rate falls after the warm-up.
enum class Decay {
  linear,    ///< to 0, as LISA trains
  cosine,    ///< to 0 along half a cosine
  constant,  ///< not at all
};

/// At which of its values the schedule begins. DeepSpeed's WarmupDecayLR steps behind the optimiser, and its versions
/// differ in the rate of the first step.
enum class ScheduleStart {
  warm,            ///< the first step has 1 / warmup of the peak
  deepspeed_0_10,  ///< the first step has the peak, the second 0, the third 1 / warmup
  deepspeed_0_15,  ///< the first and the second step have 0, the third 1 / warmup
};

/// Learning rate over the steps of a run: a linear rise, then a fall. Defaults are LISA's (train_ds.py).
struct Schedule {
  double peak = 3e-4;
  std::int64_t warmup = 100;  ///< steps of the rise
  std::int64_t total = 5000;  ///< steps of the run; from then on the rate stays where it is
  Decay decay = Decay::linear;
  ScheduleStart start = ScheduleStart::warm;
  bool operator==(const Schedule&) const = default;
};

/// Rate of the optimiser's step `step`, counted from 0.
[[nodiscard]] inline double learning_rate(const Schedule& schedule, std::int64_t step) {
  if (step == 0 && schedule.start == ScheduleStart::deepspeed_0_10) return schedule.peak;
  // Steps that the schedule has seen, the current one included where it begins warm.
  const std::int64_t seen = schedule.start == ScheduleStart::warm ? step + 1 : std::max<std::int64_t>(step - 1, 0);
  if (seen < schedule.warmup) return schedule.peak * static_cast<double>(seen) / static_cast<double>(schedule.warmup);
  if (schedule.decay == Decay::constant) return schedule.peak;
  const std::int64_t fall = std::max<std::int64_t>(schedule.total - schedule.warmup, 1);
  const double left =
      static_cast<double>(std::clamp<std::int64_t>(schedule.total - seen, 0, fall)) / static_cast<double>(fall);
  if (schedule.decay == Decay::linear) return schedule.peak * left;
  return schedule.peak * 0.5 * (1 - std::cos(std::numbers::pi * left));
}

}  // namespace lisa
