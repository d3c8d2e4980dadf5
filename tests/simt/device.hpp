#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "lisa/cuda/element.hpp"

namespace simt {

/// Where a kernel calls an operation, for the diagnosis of divergence.
struct Site {
  const char* file;
  unsigned line, column;
  static constexpr Site here(std::source_location at = std::source_location::current()) {
    return {at.file_name(), at.line(), at.column()};
  }
  bool operator==(const Site&) const = default;
};

enum class ShuffleKind : std::uint8_t { index, up, down, exclusive_or };

// What the running thread asks of the emulator.
namespace running {

int thread_index();
lisa::cuda::BlockIndex block_index();
std::byte* shared_memory();
void barrier(int id, int threads, Site site);
void sync_warp(Site site);
std::uint32_t shuffle(ShuffleKind kind, std::uint32_t value, int operand, Site site);
std::uint32_t ballot(bool vote, Site site);
void load_matrix(std::uint32_t (&fragment)[4], const void* row, bool transposed, Site site);
void multiply_bf16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site);
void multiply_fp16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site);
void copy_async(void* shared, const void* global, int bytes);
void commit_copies();
void wait_copies(int pending);
lisa::cuda::Vector16 load16(const void* address);
void store16(void* address, const lisa::cuda::Vector16& value);
std::uint32_t atomic_add(std::uint32_t* address, std::uint32_t value);
std::uint32_t take_ticket(std::uint32_t* counter, std::uint32_t last);

}  // namespace running

std::uint16_t to_bf16(float value);
float from_bf16(std::uint16_t bits);
std::uint16_t to_fp16(float value);
float from_fp16(std::uint16_t bits);

/// The kernels' device policy on the CPU: the twin of lisa::cuda::GpuDevice, which documents the operations.
struct Device {
  template <class Element>
  static constexpr bool is_bf16 = std::is_same_v<Element, lisa::cuda::Bf16>;

  static int thread_index() { return running::thread_index(); }
  static lisa::cuda::BlockIndex block_index() { return running::block_index(); }
  static std::byte* shared_memory() { return running::shared_memory(); }

  static void barrier(Site site = Site::here()) { running::barrier(0, 0, site); }
  static void barrier(int id, int threads, Site site = Site::here()) { running::barrier(id, threads, site); }
  static void sync_warp(Site site = Site::here()) { running::sync_warp(site); }

  template <class T>
  static T shuffle(T value, int lane, Site site = Site::here()) {
    return shuffle_as(ShuffleKind::index, value, lane, site);
  }
  template <class T>
  static T shuffle_up(T value, int distance, Site site = Site::here()) {
    return shuffle_as(ShuffleKind::up, value, distance, site);
  }
  template <class T>
  static T shuffle_xor(T value, int lane_mask, Site site = Site::here()) {
    return shuffle_as(ShuffleKind::exclusive_or, value, lane_mask, site);
  }
  static std::uint32_t ballot(bool vote, Site site = Site::here()) { return running::ballot(vote, site); }

  static void load_matrix(std::uint32_t (&fragment)[4], const void* row, Site site = Site::here()) {
    running::load_matrix(fragment, row, false, site);
  }
  static void load_matrix_transposed(std::uint32_t (&fragment)[4], const void* row, Site site = Site::here()) {
    running::load_matrix(fragment, row, true, site);
  }
  template <class Element>
  static void multiply(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                       Site site = Site::here()) {
    if constexpr (is_bf16<Element>) {
      running::multiply_bf16(sum, a, b, site);
    } else {
      running::multiply_fp16(sum, a, b, site);
    }
  }

  static void copy_async(void* shared, const void* global, bool read) {
    running::copy_async(shared, global, read ? 16 : 0);
  }
  static void commit_copies() { running::commit_copies(); }
  template <int pending>
  static void wait_copies() {
    running::wait_copies(pending);
  }

  static lisa::cuda::Vector16 load16(const void* address) { return running::load16(address); }
  static lisa::cuda::Vector16 load16_once(const void* address) { return running::load16(address); }
  static void store16(void* address, const lisa::cuda::Vector16& value) { running::store16(address, value); }
  static std::uint32_t atomic_add(std::uint32_t* address, std::uint32_t value) {
    return running::atomic_add(address, value);
  }
  static std::uint32_t take_ticket(std::uint32_t* counter, std::uint32_t last) {
    return running::take_ticket(counter, last);
  }

  static float exp2(float x) { return std::exp2(x); }
  static int unknown(int value) { return value; }
  static float rounded_product(float a, float b) { return a * b; }
  static float rounded_sum(float a, float b) { return a + b; }
  static int popcount(std::uint32_t bits) { return __builtin_popcount(bits); }
  static int trailing_zeros(std::uint32_t bits) { return __builtin_ctz(bits); }

  template <class Element>
  static lisa::cuda::ElementPair pack(float low, float high) {
    if constexpr (is_bf16<Element>) {
      return to_bf16(low) | std::uint32_t{to_bf16(high)} << 16;
    } else {
      return to_fp16(low) | std::uint32_t{to_fp16(high)} << 16;
    }
  }
  static std::uint32_t select_bytes(std::uint32_t low, std::uint32_t high, std::uint32_t which) {
    const std::uint64_t bytes = low | std::uint64_t{high} << 32;
    std::uint32_t selected = 0;
    for (int i = 0; i < 4; ++i) selected |= (bytes >> (which >> 4 * i & 7) * 8 & 0xFF) << 8 * i;
    return selected;
  }
  static float float_of_bits(std::uint32_t bits) { return std::bit_cast<float>(bits); }
  static float to_float(float value) { return value; }
  static float to_float(lisa::cuda::Bf16 value) { return from_bf16(value.bits); }
  static float to_float(lisa::cuda::Fp16 value) { return from_fp16(value.bits); }

 private:
  template <class T>
  static T shuffle_as(ShuffleKind kind, T value, int operand, Site site) {
    static_assert(sizeof(T) == 4, "shuffles move 4 bytes");
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits = running::shuffle(kind, bits, operand, site);
    std::memcpy(&value, &bits, sizeof bits);
    return value;
  }
};

}  // namespace simt
