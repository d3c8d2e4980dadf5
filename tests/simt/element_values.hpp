#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <type_traits>
#include <vector>

#include "device.hpp"

namespace simt {

/// A count or an index as containers take it.
inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// The larger of two errors over their bounds. A NaN is larger than every number, and stays.
inline double worse(double error, double worst) { return std::isnan(worst) || error <= worst ? worst : error; }

/// Roundings of an element type.
struct ElementRounding {
  double unit;      ///< largest relative error of a normal number
  double smallest;  ///< largest error below the normal numbers
};
inline constexpr ElementRounding fp32_rounding{0x1p-24, 0.0};
inline constexpr ElementRounding bf16_rounding{0x1p-8, 0.0};
inline constexpr ElementRounding fp16_rounding{0x1p-11, 0x1p-25};

template <class Element>
inline constexpr ElementRounding rounding_of = std::is_same_v<Element, float>              ? fp32_rounding
                                               : std::is_same_v<Element, lisa::cuda::Bf16> ? bf16_rounding
                                                                                           : fp16_rounding;

inline float as_float(float value) { return value; }
inline float as_float(lisa::cuda::Bf16 value) { return from_bf16(value.bits); }
inline float as_float(lisa::cuda::Fp16 value) { return from_fp16(value.bits); }

/// The nearest element, ties to even.
template <class Element>
Element to_element(float value) {
  if constexpr (std::is_same_v<Element, float>) return value;
  if constexpr (std::is_same_v<Element, lisa::cuda::Bf16>) return {to_bf16(value)};
  if constexpr (std::is_same_v<Element, lisa::cuda::Fp16>) return {to_fp16(value)};
}

/// Random values that Element holds, as Element and as float.
template <class Element>
struct Values {
  std::vector<Element> elements;
  std::vector<float> floats;

  Values(std::size_t count, float deviation, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0F, deviation);
    for (std::size_t i = 0; i < count; ++i) {
      elements.push_back(to_element<Element>(normal(random)));
      floats.push_back(as_float(elements.back()));
    }
  }
};

}  // namespace simt
