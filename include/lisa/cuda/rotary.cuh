#pragma once

#include <cstdint>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/element.hpp"
#include "lisa/cuda/element_pair.cuh"

// Rotary position embedding in LLaMA's half-split layout, with the roundings of the library's operator.

namespace lisa::cuda {

/// x * cosine + turned * sine for two elements; both products and their sum are rounded to Element.
template <class Dev, class Element>
LISA_DEVICE ElementPair rotate_pair(ElementPair x, ElementPair turned, ElementPair cosine, ElementPair sine) {
  const auto low = low_element<Dev, Element>;
  const auto high = high_element<Dev, Element>;
  const auto product = [&](ElementPair a, ElementPair b) {
    return Dev::template pack<Element>(low(a) * low(b), high(a) * high(b));
  };
  const ElementPair straight = product(x, cosine), across = product(turned, sine);
  return Dev::template pack<Element>(low(straight) + low(across), high(straight) + high(across));
}

/// Eight elements of a row's first half, and the eight that they are turned with from its second half.
struct RotaryChunk {
  Vector16 first, second;
};

/// @param cosine of the eight angles
/// @param sine of the eight angles
template <class Dev, class Element>
LISA_DEVICE RotaryChunk rotate_chunk(const RotaryChunk& x, const Vector16& cosine, const Vector16& sine) {
  constexpr ElementPair signs = 0x80008000;
  RotaryChunk rotated;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    rotated.first.words[i] =
        rotate_pair<Dev, Element>(x.first.words[i], x.second.words[i] ^ signs, cosine.words[i], sine.words[i]);
    rotated.second.words[i] =
        rotate_pair<Dev, Element>(x.second.words[i], x.first.words[i], cosine.words[i], sine.words[i]);
  }
  return rotated;
}

}  // namespace lisa::cuda
