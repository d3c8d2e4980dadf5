#pragma once

#include <cstdlib>
#include <string_view>

namespace lisa::cpu {

/// Whether operators may use this library's own kernels, the CPU's and the GPU's. The environment variable
/// LISA_KERNELS=reference, read once, leaves everything to ATen, for comparisons.
[[nodiscard]] inline bool own_kernels_enabled() {
  static const bool enabled = [] {
    const char* const choice = std::getenv("LISA_KERNELS");
    return choice == nullptr || std::string_view(choice) != "reference";
  }();
  return enabled;
}

}  // namespace lisa::cpu
