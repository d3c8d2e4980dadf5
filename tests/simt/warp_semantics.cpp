#include "warp_semantics.hpp"

#include <cmath>
#include <cstring>
#include <vector>

#include "device.hpp"

namespace simt {

std::uint16_t to_bf16(float value) {
  if (value != value) return 0x7FFF;  // as cvt.rn.bf16.f32 does
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

float from_bf16(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

float from_fp16(std::uint16_t bits) {
  static const std::vector<float> values = [] {
    std::vector<float> table(1 << 16);
    for (std::uint32_t i = 0; i < table.size(); ++i) {
      const int exponent = static_cast<int>(i >> 10 & 31);
      const auto fraction = static_cast<float>(i & 1023);
      float magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024.0F + fraction, exponent - 25);
      if (exponent == 31) magnitude = fraction == 0 ? INFINITY : NAN;
      table[i] = (i >> 15) != 0 ? -magnitude : magnitude;
    }
    return table;
  }();
  return values[bits];
}

std::uint16_t to_fp16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  if (value != value) return 0x7FFF;
  const float magnitude = std::fabs(value);
  if (magnitude >= 65520.0F) return sign | 0x7C00;
  if (magnitude < 0x1p-14F)  // subnormal: a multiple of 2^-24; nearbyint rounds ties to even
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(std::nearbyint(magnitude * 0x1p24F)));
  std::uint32_t rounded = bits & 0x7FFFFFFF;
  rounded += 0xFFF + ((rounded >> 13) & 1);
  return static_cast<std::uint16_t>(sign | ((rounded >> 13) - ((127U - 15U) << 10)));
}

void shuffle_lanes(const WarpOperands& lanes) {
  for (int lane = 0; lane < warp_lanes; ++lane) {
    const LaneOperands& self = lanes[static_cast<std::size_t>(lane)];
    int source = lane;
    switch (static_cast<ShuffleKind>(self.kind)) {
      case ShuffleKind::index:
        source = self.number % warp_lanes;
        break;
      case ShuffleKind::up:
        source = lane - self.number;
        break;
      case ShuffleKind::down:
        source = lane + self.number;
        break;
      case ShuffleKind::exclusive_or:
        source = lane ^ self.number;
        break;
    }
    if (source < 0 || source >= warp_lanes) source = lane;
    std::memcpy(self.result, lanes[static_cast<std::size_t>(source)].first, sizeof(std::uint32_t));
  }
}

void ballot_lanes(const WarpOperands& lanes) {
  std::uint32_t votes = 0;
  for (std::size_t lane = 0; lane < lanes.size(); ++lane)
    votes |= static_cast<std::uint32_t>(lanes[lane].number) << lane;
  for (const LaneOperands& lane : lanes) std::memcpy(lane.result, &votes, sizeof votes);
}

void exchange_matrix_rows(const WarpOperands& lanes) {
  std::uint16_t matrices[4][8][8];
  for (std::size_t lane = 0; lane < lanes.size(); ++lane)
    std::memcpy(matrices[lane / 8][lane % 8], lanes[lane].first, sizeof matrices[0][0]);
  const bool transposed = lanes[0].kind != 0;
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    const std::size_t row = lane / 4, column = lane % 4 * 2;
    auto* const registers = static_cast<std::uint32_t*>(lanes[lane].result);
    for (std::size_t m = 0; m < 4; ++m) {
      const auto& matrix = matrices[m];
      const std::uint32_t low = transposed ? matrix[column][row] : matrix[row][column];
      const std::uint32_t high = transposed ? matrix[column + 1][row] : matrix[row][column + 1];
      registers[m] = low | high << 16;
    }
  }
}

namespace {

template <float (*to_float)(std::uint16_t)>
void multiply_fragments(const WarpOperands& lanes) {
  float a[16][16], b[16][8], sum[16][8];
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    const std::size_t group = lane / 4, pair = lane % 4 * 2;
    const auto* const a_registers = static_cast<const std::uint32_t*>(lanes[lane].first);
    const auto* const b_registers = static_cast<const std::uint32_t*>(lanes[lane].second);
    const auto* const sum_registers = static_cast<const float*>(lanes[lane].result);
    for (std::size_t i = 0; i < 8; ++i) {
      const std::size_t row = group + (i / 2 % 2) * 8, k = pair + i % 2 + (i / 4) * 8;
      a[row][k] = to_float(static_cast<std::uint16_t>(a_registers[i / 2] >> (16 * (i % 2))));
    }
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t k = pair + i % 2 + (i / 2) * 8;
      b[k][group] = to_float(static_cast<std::uint16_t>(b_registers[i / 2] >> (16 * (i % 2))));
      sum[group + (i / 2) * 8][pair + i % 2] = sum_registers[i];
    }
  }
  for (std::size_t row = 0; row < 16; ++row)
    for (std::size_t k = 0; k < 16; ++k)
      for (std::size_t column = 0; column < 8; ++column) sum[row][column] += a[row][k] * b[k][column];
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    const std::size_t group = lane / 4, pair = lane % 4 * 2;
    auto* const sum_registers = static_cast<float*>(lanes[lane].result);
    for (std::size_t i = 0; i < 4; ++i) sum_registers[i] = sum[group + (i / 2) * 8][pair + i % 2];
  }
}

}  // namespace

void multiply_bf16_fragments(const WarpOperands& lanes) { multiply_fragments<from_bf16>(lanes); }
void multiply_fp16_fragments(const WarpOperands& lanes) { multiply_fragments<from_fp16>(lanes); }

}  // namespace simt
