#pragma once

#include <chrono>

namespace lisa {

/// Wall-clock time since construction or the last `lap`, in seconds.
class Stopwatch {
 public:
  /// Seconds since construction or the last lap; starts the next lap.
  double lap() {
    const Clock::time_point now = Clock::now();
    const std::chrono::duration<double> passed = now - begin_;
    begin_ = now;
    return passed.count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin_ = Clock::now();
};

}  // namespace lisa
