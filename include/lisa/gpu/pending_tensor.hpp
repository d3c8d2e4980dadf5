#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstddef>
#include <initializer_list>
#include <optional>

namespace lisa::gpu {

/// A tensor that a stream of its own computes beside the current one. On a CPU, which has no streams, it is computed at
/// once.
class PendingTensor {
 public:
  /// Queues `work()`, which gives the tensor, behind what the current stream has been given so far.
  /// @param inputs  tensors on `device` that the work reads and that may be dropped before it is done
  template <class Work>
  PendingTensor(c10::Device device, const Work& work, std::initializer_list<at::Tensor> inputs = {}) {
    if (device.is_cpu()) {
      value_ = work();
      return;
    }
    const c10::Stream own = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
    c10::Event begun(device.type());
    begun.record(current_stream(device));
    begun.block(own);
    for (const at::Tensor& input : inputs) input.record_stream(own);
    const c10::StreamGuard on_own(own);
    value_ = work();
    ready_.emplace(device.type());
    ready_->record(own);
  }

  /// The tensor, for what the current stream is given from now on: the stream waits for it, the host does not.
  [[nodiscard]] at::Tensor get() const {
    if (ready_) {
      const c10::Stream current = current_stream(value_.device());
      ready_->block(current);
      value_.record_stream(current);  // its memory is not free before this stream is done with it
    }
    return value_;
  }

  /// Memory of the tensor.
  [[nodiscard]] std::size_t nbytes() const { return value_.nbytes(); }

 private:
  static c10::Stream current_stream(c10::Device device) {
    return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
  }

  at::Tensor value_;
  std::optional<c10::Event> ready_;
};

}  // namespace lisa::gpu
