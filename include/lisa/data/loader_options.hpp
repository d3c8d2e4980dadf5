#pragma once

#include <cstdint>
#include <limits>

namespace lisa {

/// How a loader works and where it ends.
struct LoaderOptions {
  int threads = 2;
  int prefetch = 16;  ///< items made ahead of the consumer, those in work included
  std::uint64_t end_epoch = std::numeric_limits<std::uint64_t>::max();  ///< first epoch that is not read
};

}  // namespace lisa
