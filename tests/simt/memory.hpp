#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "access_history.hpp"

namespace simt {

/// The GPU's global memory: what kernels may touch, to the byte. Everything else is a fault.
class Memory {
 public:
  struct Region {
    std::string name;
    std::unique_ptr<std::byte[]> storage;
    std::byte* begin = nullptr;
    std::size_t bytes = 0;
    bool writable = false;
    AccessHistory history;  // empty for memory that kernels only read: no access to it can conflict
  };

  /// A copy of `values` that kernels may only read.
  template <class T>
  const T* input(const std::vector<T>& values, std::string name) {
    Region& region = add(std::move(name), values.size() * sizeof(T), 0);
    std::copy(values.begin(), values.end(), reinterpret_cast<T*>(region.begin));
    return reinterpret_cast<const T*>(region.begin);
  }

  /// A copy of `values` that kernels may read and write.
  template <class T>
  T* in_out(const std::vector<T>& values, std::string name) {
    T* const data = output<T>(values.size(), std::move(name));
    std::copy(values.begin(), values.end(), data);
    regions_.back()->history.mark_initialised();
    return data;
  }

  /// `count` uninitialised elements, filled with ones bits: NaN in every floating type.
  template <class T>
  T* output(std::size_t count, std::string name) {
    static_assert(std::is_trivially_copyable_v<T>);
    constexpr unsigned granularity = std::min<unsigned>(sizeof(T), 4);
    return reinterpret_cast<T*>(add(std::move(name), count * sizeof(T), granularity).begin);
  }

  /// Bytes of an output that no launch has written.
  [[nodiscard]] std::size_t unwritten_bytes(const void* output) const {
    for (const auto& region : regions_)
      if (region->begin == output) return region->history.uninitialised_bytes();
    return 0;
  }

  [[nodiscard]] std::vector<std::unique_ptr<Region>>& regions() { return regions_; }

 private:
  Region& add(std::string name, std::size_t bytes, unsigned granularity) {
    // The distance to the next region is larger than any mistake in an index that is worth catching by name.
    constexpr std::size_t gap = 4096, alignment = 256;
    auto region = std::make_unique<Region>(
        Region{std::move(name), std::make_unique<std::byte[]>(bytes + 2 * gap), nullptr, bytes, granularity != 0,
               AccessHistory(granularity == 0 ? 0 : bytes, std::max(1U, granularity))});
    const auto start = reinterpret_cast<std::uintptr_t>(region->storage.get()) + gap;
    region->begin = region->storage.get() + gap + (alignment - start % alignment) % alignment;
    std::fill_n(region->begin, bytes, std::byte{0xFF});
    regions_.push_back(std::move(region));
    return *regions_.back();
  }

  std::vector<std::unique_ptr<Region>> regions_;
};

}  // namespace simt
