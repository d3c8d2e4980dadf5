#pragma once

#include <bit>
#include <concepts>
#include <cstdint>

namespace lisa::cpu {

/// The bits of a bfloat16 as it lies in memory: the upper half of an IEEE single.
using Bf16Bits = std::uint16_t;

[[nodiscard]] inline float to_float(Bf16Bits bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

/// So that kernels for both element types read either.
[[nodiscard]] inline float to_float(float value) { return value; }

/// Rounds to nearest, ties to even; every NaN becomes the quiet one, as in ATen.
[[nodiscard]] inline Bf16Bits to_bf16(float value) {
  if (value != value) return 0x7fc0;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<Bf16Bits>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/// An fp32 result as an element of either type.
template <class Element>
[[nodiscard]] Element rounded_to(float value) {
  if constexpr (std::same_as<Element, float>)
    return value;
  else
    return to_bf16(value);
}

}  // namespace lisa::cpu
