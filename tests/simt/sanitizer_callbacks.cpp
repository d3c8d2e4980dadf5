// What g++ and clang call before each access to memory in a file compiled with -fsanitize=thread. The program is linked
// without that option, so these functions stand where ThreadSanitizer's would.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "emulator.hpp"

namespace {

using simt::Access;

}  // namespace

#define SIMT_PC __builtin_return_address(0)

// One pair of functions for each size of access: their names are the compilers' interface.
#define SIMT_CALLBACKS(bytes)                                                                      \
  void __tsan_read##bytes(void* at) { simt::observe(Access::read, at, bytes, SIMT_PC); }           \
  void __tsan_write##bytes(void* at) { simt::observe(Access::write, at, bytes, SIMT_PC); }         \
  void __tsan_unaligned_read##bytes(void* at) { simt::observe(Access::read, at, bytes, SIMT_PC); } \
  void __tsan_unaligned_write##bytes(void* at) { simt::observe(Access::write, at, bytes, SIMT_PC); }

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
SIMT_CALLBACKS(1)
SIMT_CALLBACKS(2)
SIMT_CALLBACKS(4)
SIMT_CALLBACKS(8)
SIMT_CALLBACKS(16)
void __tsan_read_range(void* at, std::size_t bytes) { simt::observe(Access::read, at, bytes, SIMT_PC); }
void __tsan_write_range(void* at, std::size_t bytes) { simt::observe(Access::write, at, bytes, SIMT_PC); }
void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  simt::observe(Access::read, from, bytes, SIMT_PC);
  simt::observe(Access::write, to, bytes, SIMT_PC);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memset(void* at, int value, std::size_t bytes) {
  simt::observe(Access::write, at, bytes, SIMT_PC);
  return std::memset(at, value, bytes);
}
}
