#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace lisa::cpu {

/// Parts of a weight matrix's rows that a product takes next, brought nearer while it multiplies others: one line of
/// memory in each step of a loop. Reading them is then hidden behind the arithmetic.
struct NextWeights {
  static constexpr std::int64_t most_rows = 16, line = 64;

  const std::byte* first = nullptr;  ///< the first row's part
  std::int64_t stride = 0;           ///< bytes from a row to the next
  std::int64_t rows = 0;
  std::int64_t bytes = 0;  ///< of a row's part

  /// Steps 0 to 15 take a row's first line each, the next 16 its second one, and so on; rows beyond 16 are left out.
  [[gnu::always_inline]] void fetch(std::int64_t step) const {
    const std::int64_t row = step % most_rows, byte = step / most_rows * line;
    if (row < rows && byte < bytes) __builtin_prefetch(first + row * stride + byte);
  }

  /// One of `count` equal shares of the rows.
  [[nodiscard]] NextWeights share(std::int64_t number, std::int64_t count) const {
    const std::int64_t begin = rows * number / count, end = rows * (number + 1) / count;
    return {first + begin * stride, stride, end - begin, bytes};
  }
};

}  // namespace lisa::cpu
