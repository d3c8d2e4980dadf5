#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace lisa {

/// Which process keeps the optimiser states of each parameter, and steps it (ZeRO's first stage, Rajbhandari et al.
/// 2020, by whole parameters): the largest first, each to the process that has least so far.
/// @param elements of each parameter
[[nodiscard]] inline std::vector<int> state_owners(const std::vector<std::int64_t>& elements, int processes) {
  std::vector<std::size_t> order(elements.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return elements[a] != elements[b] ? elements[a] > elements[b] : a < b;
  });
  std::vector<std::int64_t> load(static_cast<std::size_t>(processes), 0);
  std::vector<int> owners(elements.size(), 0);
  for (const std::size_t i : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += elements[i];
    owners[i] = static_cast<int>(least - load.begin());
  }
  return owners;
}

}  // namespace lisa
