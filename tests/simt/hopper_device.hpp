#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "device.hpp"
#include "lisa/cuda/hopper_types.hpp"
#include "tensor_map.hpp"
#include "warpgroup_products.hpp"

namespace simt {

// What the running thread asks of the emulator.
namespace running {

std::uint32_t matrix_address(const void* shared);
void init_barrier(void* barrier, int arrivals);
void fence_async_proxy();
void arrive(void* barrier, int announced_bytes);
void wait_phase(void* barrier, int parity, Site site);
void load_tile(void* shared, const TensorMap& map, const lisa::cuda::TileCoordinates& tile, void* barrier);
void fence_products(std::span<const Registers> registers, Site site);
void start_product(const Product& product, Site site);
void commit_products(Site site);
void wait_products(int pending, std::span<const Registers> registers, Site site);

}  // namespace running

/// The twin of lisa::cuda::HopperDevice, which documents the operations.
struct HopperDevice : Device {
  using TensorMap = simt::TensorMap;
  using TransactionBarrier = lisa::cuda::TransactionBarrier;

  static std::uint32_t matrix_address(const void* shared) { return running::matrix_address(shared); }

  static void init_barrier(TransactionBarrier* barrier, int arrivals) { running::init_barrier(barrier, arrivals); }
  static void fence_async_proxy() { running::fence_async_proxy(); }
  static void arrive(TransactionBarrier* barrier) { running::arrive(barrier, 0); }
  static void arrive_expecting(TransactionBarrier* barrier, int bytes) { running::arrive(barrier, bytes); }
  static void wait_phase(TransactionBarrier* barrier, int parity, Site site = Site::here()) {
    running::wait_phase(barrier, parity, site);
  }
  static void load_tile(void* shared, const TensorMap& map, const lisa::cuda::TileCoordinates& tile,
                        TransactionBarrier* barrier) {
    running::load_tile(shared, map, tile, barrier);
  }

  template <class... Arrays>
  static void fence_products(Arrays&... registers) {
    const std::array<Registers, sizeof...(Arrays)> list{
        Registers{reinterpret_cast<std::byte*>(&registers), sizeof registers}...};
    running::fence_products(list, {"fence_products", sizeof...(Arrays), 0});
  }
  template <class Element, lisa::cuda::Major major, int tiles>
  static void multiply_shared(float (&sum)[tiles][4], std::uint64_t a, std::uint64_t b, Site site = Site::here()) {
    running::start_product({&sum[0][0], nullptr, a, b, 8 * tiles, major, to_float_of<Element>}, site);
  }
  template <class Element, lisa::cuda::Major major, int tiles>
  static void multiply_registers(float (&sum)[tiles][4], const std::uint32_t (&a)[4], std::uint64_t b,
                                 Site site = Site::here()) {
    running::start_product({&sum[0][0], a, 0, b, 8 * tiles, major, to_float_of<Element>}, site);
  }
  static void commit_products(Site site = Site::here()) { running::commit_products(site); }
  template <int pending, class... Arrays>
  static void wait_products(Arrays&... registers) {
    const std::array<Registers, sizeof...(Arrays)> list{
        Registers{reinterpret_cast<std::byte*>(&registers), sizeof registers}...};
    running::wait_products(pending, list, {"wait_products", pending, sizeof...(Arrays)});
  }

 private:
  template <class Element>
  static constexpr float (*to_float_of)(std::uint16_t) = is_bf16<Element> ? from_bf16 : from_fp16;
};

}  // namespace simt
