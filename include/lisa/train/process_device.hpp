#pragma once

#include <c10/core/Device.h>

#include <algorithm>
#include <limits>

#include "lisa/train/process_place.hpp"

namespace lisa {

/// The GPU of one process among several: `cuda` without an index is that of the process' number on its machine.
[[nodiscard]] inline c10::Device process_device(c10::Device device, const ProcessPlace& place) {
  if (!device.is_cuda() || device.has_index() || place.world_size == 1) return device;
  constexpr int last = std::numeric_limits<c10::DeviceIndex>::max();
  return {device.type(), static_cast<c10::DeviceIndex>(std::min(place.local_rank, last))};
}

}  // namespace lisa
