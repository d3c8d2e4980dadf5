#pragma once

#include "lisa/cuda/device_function.hpp"

namespace lisa::cuda {

/// What a kernel is written for: the first machine that has all that it uses.
enum class Architecture {
  sm80,  ///< sm_80 and everything after it
  sm90a  ///< sm_90 alone
};

/// Shared memory that a block may have on every machine that runs a kernel written for `architecture`: sm_86 and sm_89
/// have the least of those from sm_80 on.
[[nodiscard]] LISA_HOST_DEVICE constexpr int most_shared_bytes(Architecture architecture) {
  return (architecture == Architecture::sm90a ? 227 : 99) * 1024;
}

}  // namespace lisa::cuda
