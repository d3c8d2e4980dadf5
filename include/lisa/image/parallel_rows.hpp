#pragma once

namespace lisa {

/// Calls `body(first, last)` for contiguous parts that together cover rows 0 .. rows - 1, on OpenMP's threads where the
/// including file is compiled with OpenMP and in one call otherwise. `body` must not throw, and the result must not
/// depend on how the rows are split.
template <class Body>
void parallel_rows(int rows, const Body& body) {
#ifdef _OPENMP
  constexpr int part = 16;  // rows per task: enough work to outweigh scheduling, small enough to balance threads
  const int parts = (rows + part - 1) / part;
#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < parts; ++i) body(i * part, i + 1 == parts ? rows : (i + 1) * part);
#else
  body(0, rows);
#endif
}

}  // namespace lisa
