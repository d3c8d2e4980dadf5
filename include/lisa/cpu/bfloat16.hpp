#pragma once

#include <bit>
#include <cstdint>

namespace lisa::cpu {

/// The bits of a bfloat16 as it lies in memory: the upper half of an IEEE single.
using Bf16Bits = std::uint16_t;

[[nodiscard]] inline float to_float(Bf16Bits bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

/// Rounds to nearest, ties to even; every NaN becomes the quiet one, as in ATen.
[[nodiscard]] inline Bf16Bits to_bf16(float value) {
  if (value != value) return 0x7fc0;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<Bf16Bits>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace lisa::cpu
