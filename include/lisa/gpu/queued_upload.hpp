#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "lisa/aten/operators.hpp"

namespace lisa::gpu {

/// A tensor's values on `device`, queued on the current stream of a GPU by way of pinned memory: the host waits for
/// nothing that is queued there, as it would for a copy from ordinary memory. `source` may change afterwards.
/// @param source on the CPU
/// @return       of the same shape and dtype; a copy on a CPU too
[[nodiscard]] inline at::Tensor queued_upload(const at::Tensor& source, c10::Device device) {
  if (device.is_cpu()) return source.clone();
  at::Tensor pinned = aten::empty(source.sizes(), source.options().pinned_memory(true));
  pinned.copy_(source);
  // The allocator of pinned memory gives it to nobody before the copy is done.
  return pinned.to(source.options().device(device), /*non_blocking=*/true);
}

}  // namespace lisa::gpu
