#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/staging_ring.hpp"

namespace lisa::gpu {

/// Memory of the host that a GPU reads by itself, and the moment when it has done so.
class PinnedBuffer {
 public:
  /// @param bytes  > 0
  explicit PinnedBuffer(std::size_t bytes)
      : memory_(aten::empty({static_cast<dim>(bytes)},
                            at::TensorOptions().dtype(at::kByte).device(at::kCPU).pinned_memory(true))) {}

  [[nodiscard]] std::span<std::byte> bytes() const {
    return {reinterpret_cast<std::byte*>(memory_.mutable_data_ptr<std::uint8_t>()), memory_.nbytes()};
  }
  void wait() const {
    if (sent_) sent_->synchronize();
  }
  /// Queues the copy of the first bytes to `target`, uint8 [count] on a GPU.
  void send(const at::Tensor& target) {
    target.copy_(memory_.narrow(0, 0, target.size(0)), /*non_blocking=*/true);
    const c10::Device device = target.device();
    if (!sent_) sent_.emplace(device.type());
    sent_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  }

 private:
  at::Tensor memory_;  // uint8, pinned
  std::optional<c10::Event> sent_;
};

/// The way of weights from a mapped file to a GPU, through two pinned buffers: while one is on its way the file's next
/// bytes are read into the other. A copy from the mapping itself would wait for each page, and pin it.
class StagedUpload {
 public:
  /// @param buffer_bytes  of each of the two buffers, which are made when the first tensor needs them; > 0
  explicit StagedUpload(std::size_t buffer_bytes = std::size_t{64} << 20) : buffer_bytes_(buffer_bytes) {}

  /// A tensor on `device` in `dtype`; on a GPU the copy is queued on the current stream and a dtype is converted there.
  /// `source` itself where it is that already. Its memory is no longer read when this returns.
  [[nodiscard]] at::Tensor to(const at::Tensor& source, c10::Device device, at::ScalarType dtype) {
    if (!device.is_cuda() || !source.is_cpu() || !source.is_contiguous() || source.numel() == 0)
      return source.to(source.options().device(device).dtype(dtype));
    at::Tensor target = aten::empty(source.sizes(), source.options().device(device));
    copy(source, target.view({-1}).view(at::kByte));
    return target.to(dtype);
  }

 private:
  /// @param target  uint8, as many as source has bytes
  void copy(const at::Tensor& source, const at::Tensor& target) {
    if (!ring_) {
      std::vector<PinnedBuffer> buffers;
      for (int i = 0; i < 2; ++i) buffers.emplace_back(buffer_bytes_);
      ring_.emplace(std::move(buffers));
    }
    const auto* const bytes = static_cast<const std::byte*>(source.const_data_ptr());
    ring_->pass(
        source.nbytes(), [&](std::span<std::byte> to, std::size_t begin) { read(bytes + begin, to); },
        [&](PinnedBuffer& buffer, std::size_t begin, std::size_t count) {
          buffer.send(target.narrow(0, static_cast<dim>(begin), static_cast<dim>(count)));
        });
  }

  /// By several threads: one alone reads a mapping far slower than a GPU takes it.
  static void read(const std::byte* from, std::span<std::byte> to) {
    at::parallel_for(0, static_cast<dim>(to.size()), dim{1} << 20, [&](dim begin, dim end) {
      std::memcpy(to.data() + begin, from + begin, static_cast<std::size_t>(end - begin));
    });
  }

  std::size_t buffer_bytes_;
  std::optional<StagingRing<PinnedBuffer>> ring_;
};

}  // namespace lisa::gpu
