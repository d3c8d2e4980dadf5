#pragma once

#include "device.hpp"
#include "micro_kernels.hpp"

namespace simt {

/// A micro-kernel's memory, and the place of the thread that runs it.
struct Micro : MicroArguments {
  int t = Device::thread_index();
  int b = Device::block_index().x;
  std::uint32_t* s = reinterpret_cast<std::uint32_t*>(Device::shared_memory());
};

/// The kernel that runs `Body`, a lambda without captures.
template <class Body>
auto micro(Body) -> void (*)(const MicroArguments&) {
  return [](const MicroArguments& arguments) { Body{}(Micro{arguments}); };
}

}  // namespace simt
