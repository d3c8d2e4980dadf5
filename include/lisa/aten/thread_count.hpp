#pragma once

#include <ATen/Parallel.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace lisa::aten {

/// While it lives, the parallel work that the calling thread starts runs on `count` threads. Other threads keep their
/// numbers, which `at::set_num_threads` would change for all that start later. Without OpenMP it does nothing.
class ThreadCount {
 public:
  /// @param count  >= 1
  explicit ThreadCount(int count) : before_(at::get_num_threads()) { set(count); }
  ~ThreadCount() { set(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  static void set([[maybe_unused]] int count) {
#if defined(_OPENMP)
    omp_set_num_threads(count);
#endif
  }

  int before_;
};

}  // namespace lisa::aten
