#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <optional>

#include "lisa/aten/operators.hpp"

namespace lisa::gpu {

/// A small tensor's values on their way to the host: the copy is queued at once and waited for when it is asked for, so
/// that nothing else waits.
class HostCopy {
 public:
  /// Queues the copy behind the work of the current stream. @param values on any device; may change afterwards
  explicit HostCopy(const at::Tensor& values) {
    if (values.is_cpu()) {
      host_ = values.clone();
      return;
    }
    host_ = aten::empty(values.sizes(),
                        at::TensorOptions().dtype(values.scalar_type()).device(at::kCPU).pinned_memory(true));
    host_.copy_(values, /*non_blocking=*/true);
    arrived_.emplace(values.device().type());
    arrived_->record(c10::impl::VirtualGuardImpl(values.device().type()).getStream(values.device()));
  }

  /// The values on the CPU, once they are there.
  [[nodiscard]] const at::Tensor& wait() const {
    if (arrived_) arrived_->synchronize();
    return host_;
  }

 private:
  at::Tensor host_;
  std::optional<c10::Event> arrived_;
};

}  // namespace lisa::gpu
