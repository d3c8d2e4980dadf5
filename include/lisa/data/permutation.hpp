#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "lisa/data/random.hpp"

namespace lisa {

/// Where `index` < `count` goes in a random permutation of [0, count), which the state of `random` names. Found for one
/// index alone, without a table, so that a place in an epoch can be reached directly. It is the swap-or-not shuffle
/// (Hoang, Morris, Rogaway, CRYPTO 2012): each round pairs all numbers and swaps every pair or not by one bit.
[[nodiscard]] inline std::uint64_t permuted(std::uint64_t index, std::uint64_t count, Random random) {
  const int rounds = std::max(64, 8 * static_cast<int>(std::bit_width(count)));
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t sum = random.below(count);
    const std::uint64_t salt = random.bits();
    const std::uint64_t partner = sum >= index ? sum - index : sum + (count - index);
    if (Random({salt, std::max(index, partner)}).bits() & 1) index = partner;
  }
  return index;
}

}  // namespace lisa
