#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"

namespace lisa::gpu {

/// Small results of a device's steps on their way to the host, each in a slot of its own. Memory and events are made
/// once, so that a step allocates nothing; a result is waited for when it is asked for, so that nothing else waits.
class HostRing {
 public:
  /// @param device  that the results come from
  /// @param slots   > 0
  /// @param numbers of one result, > 0
  HostRing(c10::Device device, dim slots, dim numbers)
      : device_(device),
        host_(aten::empty({slots, numbers},
                          at::TensorOptions().dtype(at::kLong).device(at::kCPU).pinned_memory(!device.is_cpu()))) {
    if (device.is_cpu()) return;
    for (dim slot = 0; slot < slots; ++slot) arrived_.emplace_back(device.type());
  }

  /// Queues the copy of a result behind the work of the current stream; what the slot held before is gone.
  /// @param values int64 [numbers] on the device; may change afterwards
  void send(dim slot, const at::Tensor& values) {
    host_.select(0, slot).copy_(values, /*non_blocking=*/true);
    if (!arrived_.empty())
      arrived_[static_cast<std::size_t>(slot)].record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  }

  /// What was last sent into a slot, once it is there; until the next `send` into it.
  [[nodiscard]] std::span<const std::int64_t> wait(dim slot) const {
    if (!arrived_.empty()) arrived_[static_cast<std::size_t>(slot)].synchronize();
    const dim numbers = host_.size(1);
    return {host_.const_data_ptr<std::int64_t>() + slot * numbers, static_cast<std::size_t>(numbers)};
  }

 private:
  c10::Device device_;
  at::Tensor host_;                  // int64 [slots, numbers]; pinned where the device is a GPU
  std::vector<c10::Event> arrived_;  // of each slot, for a GPU
};

}  // namespace lisa::gpu
