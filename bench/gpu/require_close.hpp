#pragma once

#include <algorithm>
#include <string>

#include "lisa/base/error.hpp"

namespace lisa::gpu_bench {

/// Throws MismatchError where outputs that are to be timed differ by more than `bound`, or by no number.
inline void require_close(const std::string& what, double difference, double bound) {
  if (difference <= bound) return;
  throw MismatchError(
      "", what, "outputs differ by " + std::to_string(difference) + ", expected at most " + std::to_string(bound));
}

/// Throws MismatchError unless an output is about as near to the exact one as a peer's is that rounds as often. How far
/// both are depends on how deep a model is and on its weights, which no fixed bound knows: half as far again as the
/// peer is allowed, and what two roundings come to where the peer is exact.
/// @param difference, of_peer  relative L2 differences from the exact output
/// @param unit                 unit roundoff of the dtype
inline void require_as_close(const std::string& what, double difference, double of_peer, double unit) {
  // Outputs that have nothing to do with each other differ by 1 and more: such a peer would allow anything.
  constexpr double useless = 0.3;
  require_close(what + ", peer", of_peer, useless);
  require_close(what, difference, std::max(1.5 * of_peer, 2 * unit));
}

}  // namespace lisa::gpu_bench
