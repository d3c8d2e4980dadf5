#pragma once

#include <cstdint>

namespace lisa::cpu {

/// Calls `tile.operator()<Count>(first)` for parts of `rows` rows whose sizes differ by one at most, `Count` of them
/// from `first` on and no more than `Most`: a tile that is left with one row would take as long as a full one.
template <int Most, class Tile>
void for_row_parts(std::int64_t rows, const Tile& tile) {
  const auto call = [&]<int Count>(const auto& self, std::int64_t first, std::int64_t count) -> void {
    if (count == Count) return tile.template operator()<Count>(first);
    if constexpr (Count > 1) self.template operator()<Count - 1>(self, first, count);
  };
  const std::int64_t parts = (rows + Most - 1) / Most;
  std::int64_t first = 0;
  for (std::int64_t part = 0; part < parts; ++part) {
    const std::int64_t count = (rows - first) / (parts - part);
    call.template operator()<Most>(call, first, count);
    first += count;
  }
}

}  // namespace lisa::cpu
