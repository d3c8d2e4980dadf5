#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace lisa::gpu {

/// A buffer that bytes pass through: `wait()` returns when what was last sent from it has arrived.
template <class B>
concept StagingBuffer = requires(B& buffer) {
  { buffer.bytes() } -> std::same_as<std::span<std::byte>>;
  buffer.wait();
};

/// Buffers in a ring, so that one is filled while the others are on their way.
template <StagingBuffer Buffer>
class StagingRing {
 public:
  /// @param buffers  at least one, none of them empty
  explicit StagingRing(std::vector<Buffer> buffers) : buffers_(std::move(buffers)) {}

  /// Passes `size` bytes on, piece by piece, in order.
  /// @param fill  `fill(bytes, begin)` writes the source's bytes from `begin` on into all of `bytes`
  /// @param send  `send(buffer, begin, count)` starts to send the first `count` bytes of a buffer, the source's from
  ///              `begin` on
  template <class Fill, class Send>
  void pass(std::size_t size, const Fill& fill, const Send& send) {
    for (std::size_t begin = 0; begin < size;) {
      Buffer& buffer = buffers_[next_];
      next_ = (next_ + 1) % buffers_.size();
      buffer.wait();
      const std::size_t count = std::min(size - begin, buffer.bytes().size());
      fill(buffer.bytes().first(count), begin);
      send(buffer, begin, count);
      begin += count;
    }
  }

 private:
  std::vector<Buffer> buffers_;
  std::size_t next_ = 0;  // the one that was sent longest ago
};

}  // namespace lisa::gpu
