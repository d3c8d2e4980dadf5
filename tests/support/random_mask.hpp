#pragma once

#include <rapidcheck.h>

#include <cstdint>
#include <random>

#include "lisa/image/mask.hpp"

namespace lisa::test {

/// A mask of random size up to `limit` with between none and all of its pixels set, in runs of random length.
inline BitMask random_mask(int limit) {
  const int height = *rc::gen::inRange(1, limit);
  const int width = *rc::gen::inRange(1, limit);
  // One draw of RapidCheck's seeds the rest: it keeps every value it draws in memory.
  std::mt19937 random(*rc::gen::noShrink(rc::gen::arbitrary<std::uint32_t>()));
  const auto below = [&](int bound) { return static_cast<int>(random() % static_cast<std::uint32_t>(bound)); };
  BitMask mask({height, width});
  const int longest = 1 + below(2 * height + 1);
  bool value = below(2) == 1;
  int left = below(longest + 1);
  for (int x = 0; x < width; ++x)
    for (int y = 0; y < height; ++y) {
      if (left == 0) {
        value = !value;
        left = 1 + below(longest);
      }
      --left;
      mask.set(x, y, value);
    }
  return mask;
}

}  // namespace lisa::test
