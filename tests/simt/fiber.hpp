#pragma once

#include <cstddef>
#include <functional>

namespace simt {

/// A call stack of its own that runs until it hands control back: one CUDA thread. Leaving a fiber for good (a kernel
/// that was stopped at a fault) is allowed, because kernels own nothing that must be destroyed.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Prepares `body` to run from its beginning. It must outlive the fiber's run.
  void start(const std::function<void()>& body);

  /// Runs the fiber until it calls `leave` or its body ends.
  void enter();

  /// Hands control back to `enter`'s caller; called on the fiber.
  void leave();

  /// Whether `address` lies on this fiber's stack, that is, in the thread's registers and local memory.
  [[nodiscard]] bool owns(const void* address) const {
    const auto* byte = static_cast<const std::byte*>(address);
    return byte >= stack_ && byte < stack_ + stack_bytes;
  }

  static constexpr std::size_t stack_bytes = std::size_t{128} << 10;

 private:
  static void run();

  std::byte* stack_ = nullptr;
  void* own_context_ = nullptr;
  void* caller_context_ = nullptr;
  const std::function<void()>* body_ = nullptr;
};

}  // namespace simt
