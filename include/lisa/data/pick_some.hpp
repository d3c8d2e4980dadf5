#pragma once

#include <cstddef>
#include <numeric>
#include <vector>

#include "lisa/data/random.hpp"

namespace lisa {

/// `wanted` different numbers below `count` in random order, or all of them in theirs when there are fewer: how LISA
/// chooses among the sentences about an image (LISA utils/refer_seg_dataset.py, reason_seg_dataset.py).
[[nodiscard]] inline std::vector<std::size_t> pick_some(std::size_t count, std::size_t wanted, Random& random) {
  std::vector<std::size_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), std::size_t{0});
  if (count < wanted) return numbers;
  random.shuffle(numbers);
  numbers.resize(wanted);
  return numbers;
}

}  // namespace lisa
