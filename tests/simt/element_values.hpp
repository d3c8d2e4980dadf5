#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <type_traits>
#include <vector>

#include "attention_reference.hpp"
#include "device.hpp"

// 16-bit elements as tests need them: random ones, their values as float, and their roundings.

namespace simt {

template <class Element>
float as_float(Element value) {
  if constexpr (std::is_same_v<Element, lisa::cuda::Bf16>) {
    return from_bf16(value.bits);
  } else {
    return from_fp16(value.bits);
  }
}

template <class Element>
Element as_element(float value) {
  if constexpr (std::is_same_v<Element, lisa::cuda::Bf16>) {
    return {to_bf16(value)};
  } else {
    return {to_fp16(value)};
  }
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
      elements.push_back(as_element<Element>(normal(random)));
      floats.push_back(as_float(elements.back()));
    }
  }
};

template <class Element>
constexpr ElementRounding rounding_of = std::is_same_v<Element, lisa::cuda::Bf16> ? bf16_rounding : fp16_rounding;

inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// The larger of two errors over their bounds. A NaN is larger than every number, and stays.
inline double worse(double error, double worst) { return std::isnan(worst) || error <= worst ? worst : error; }

}  // namespace simt
