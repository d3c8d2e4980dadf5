#pragma once

#include <cstdint>
#include <type_traits>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/element.hpp"

// Neighbouring elements as floats, and back.

namespace lisa::cuda {

/// Elements of 16 bits that move in one access.
inline constexpr int vector_elements = 8;

/// Whether rows that start at `pointer` plus multiples of `stride` elements can be read 16 bytes at a time.
template <class Element>
[[nodiscard]] inline bool rows_aligned(const Element* pointer, std::int64_t stride) {
  return reinterpret_cast<std::uintptr_t>(pointer) % sizeof(Vector16) == 0 &&
         stride % static_cast<std::int64_t>(sizeof(Vector16) / sizeof(Element)) == 0;
}

/// The element nearest to a value, ties to even; a float is the value.
template <class Dev, class Element>
LISA_DEVICE Element to_element(float value) {
  if constexpr (std::is_same_v<Element, float>) {
    return value;
  } else {
    return {static_cast<std::uint16_t>(Dev::template pack<Element>(value, 0.0F))};
  }
}

/// What is left of a value that is held as an Element.
template <class Dev, class Element>
LISA_DEVICE float rounded_to(float value) {
  return Dev::to_float(to_element<Dev, Element>(value));
}

template <class Dev, class Element>
LISA_DEVICE void unpack(const Vector16& vector, float (&values)[vector_elements]) {
#pragma unroll
  for (int i = 0; i < vector_elements; ++i)
    values[i] = Dev::to_float(Element{static_cast<std::uint16_t>(vector.words[i / 2] >> (i % 2 * 16))});
}

/// `count` neighbouring elements: 8 in one access, whose address is a multiple of 16, or 1.
template <class Dev, class Element, int count>
LISA_DEVICE void load_elements(const Element* from, float (&values)[count]) {
  static_assert(count == 1 || count == vector_elements, "load_elements: loads one element or one vector");
  if constexpr (count == 1) {
    values[0] = Dev::to_float(*from);
  } else {
    unpack<Dev, Element>(Dev::load16(from), values);
  }
}

/// As `load_elements`; values are rounded to the nearest, ties to even.
template <class Dev, class Element, int count>
LISA_DEVICE void store_elements(Element* to, const float (&values)[count]) {
  static_assert(count == 1 || count == vector_elements, "store_elements: stores one element or one vector");
  if constexpr (count == 1) {
    *to = to_element<Dev, Element>(values[0]);
  } else {
    Vector16 vector;
#pragma unroll
    for (int i = 0; i < vector_elements / 2; ++i)
      vector.words[i] = Dev::template pack<Element>(values[2 * i], values[2 * i + 1]);
    Dev::store16(to, vector);
  }
}

/// The sum over the lanes of a warp, the same in each.
template <class Dev>
LISA_DEVICE float warp_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += Dev::shuffle_xor(value, distance);
  return value;
}

}  // namespace lisa::cuda
