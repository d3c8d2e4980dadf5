// What kernels call: the static functions of the device policies' twins.
#include <cstring>

#include "emulator.hpp"
#include "hopper_device.hpp"
#include "launch_state.hpp"

namespace simt {

using lisa::cuda::Vector16;

namespace running {

int thread_index() { return running_launch->current().index; }
lisa::cuda::BlockIndex block_index() { return running_launch->block(); }
std::byte* shared_memory() { return running_launch->shared(); }
void barrier(int id, int threads, Site site) { running_launch->barrier(id, threads, site); }
void sync_warp(Site site) { running_launch->collective(Collective::sync_warp, site, {}); }

std::uint32_t shuffle(ShuffleKind kind, std::uint32_t value, int operand, Site site) {
  std::uint32_t result = 0;
  running_launch->collective(Collective::shuffle, site,
                             {&value, nullptr, &result, static_cast<int>(kind), operand, shuffle_lanes});
  return result;
}

std::uint32_t ballot(bool vote, Site site) {
  std::uint32_t result = 0;
  running_launch->collective(Collective::ballot, site, {nullptr, nullptr, &result, 0, vote ? 1 : 0, ballot_lanes});
  return result;
}

void load_matrix(std::uint32_t (&fragment)[4], const void* row, bool transposed, Site site) {
  observe(Access::read, row, sizeof(Vector16), __builtin_return_address(0));  // each lane reads its row in its own name
  Vector16 bytes;
  std::memcpy(&bytes, row, sizeof bytes);
  running_launch->collective(Collective::load_matrix, site,
                             {&bytes, nullptr, fragment, transposed ? 1 : 0, 0, exchange_matrix_rows});
}

void multiply_bf16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site) {
  running_launch->collective(Collective::multiply, site, {a, b, sum, 0, 0, multiply_bf16_fragments});
}

void multiply_fp16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site) {
  running_launch->collective(Collective::multiply, site, {a, b, sum, 0, 0, multiply_fp16_fragments});
}

void copy_async(void* shared, const void* global, int bytes) {
  running_launch->copy_async(shared, global, bytes, __builtin_return_address(0));
}
void commit_copies() { ++running_launch->current().group; }
void wait_copies(int pending) { running_launch->wait_copies(pending, __builtin_return_address(0)); }

Vector16 load16(const void* address) {
  observe(Access::read, address, sizeof(Vector16), __builtin_return_address(0));
  Vector16 value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

void store16(void* address, const Vector16& value) {
  observe(Access::write, address, sizeof(Vector16), __builtin_return_address(0));
  std::memcpy(address, &value, sizeof value);
}

std::uint32_t atomic_add(std::uint32_t* address, std::uint32_t value) {
  observe(Access::atomic, address, sizeof value, __builtin_return_address(0));
  return std::exchange(*address, *address + value);
}

std::uint32_t take_ticket(std::uint32_t* counter, std::uint32_t last) {
  return running_launch->take_ticket(counter, last, __builtin_return_address(0));
}

std::uint32_t matrix_address(const void* shared) { return running_launch->shared_offset(shared); }
void init_barrier(void* barrier, int arrivals) {
  running_launch->transactions().init(barrier, arrivals, __builtin_return_address(0));
}
void fence_async_proxy() { running_launch->fence_async_proxy(); }
void arrive(void* barrier, int announced_bytes) {
  running_launch->transactions().arrive(barrier, announced_bytes, __builtin_return_address(0));
}
void wait_phase(void* barrier, int parity, Site site) {
  running_launch->transactions().wait(barrier, parity, site, __builtin_return_address(0));
}
void load_tile(void* shared, const TensorMap& map, const lisa::cuda::TileCoordinates& tile, void* barrier) {
  running_launch->transactions().load_tile(shared, map, tile, barrier, __builtin_return_address(0));
}
void fence_products(std::span<const Registers> registers, Site site) {
  running_launch->products().fence(registers, site);
}
void start_product(const Product& product, Site site) {
  running_launch->products().start(product, site, __builtin_return_address(0));
}
void commit_products(Site site) { running_launch->products().commit(site); }
void wait_products(int pending, std::span<const Registers> registers, Site site) {
  running_launch->products().wait(pending, registers, site);
}

}  // namespace running

}  // namespace simt
