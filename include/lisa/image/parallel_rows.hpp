#pragma once

#include <cstdint>

namespace lisa {

/// Calls `body(first, last)` for contiguous parts that together cover rows 0 .. rows - 1: on OpenMP's threads where the
/// including file is compiled with OpenMP and the work is worth it, in one call otherwise. `operations` estimates the
/// multiply-adds of all rows. `body` must not throw, and the result must not depend on how the rows are split.
template <class Body>
void parallel_rows(int rows, std::int64_t operations, const Body& body) {
#ifdef _OPENMP
  // About ten milliseconds on one core. On a busy machine a team of threads waits that long for the last of them, so
  // below it a second thread costs more than it gives.
  constexpr std::int64_t worth_threads = 1 << 26;
  constexpr int part = 16;  // rows per task: enough work to outweigh scheduling, small enough to balance threads
  const int parts = (rows + part - 1) / part;
  if (operations >= worth_threads) {
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < parts; ++i) body(i * part, i + 1 == parts ? rows : (i + 1) * part);
    return;
  }
#else
  static_cast<void>(operations);
#endif
  body(0, rows);
}

}  // namespace lisa
