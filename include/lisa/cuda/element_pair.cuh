#pragma once

#include <cstdint>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/element.hpp"

namespace lisa::cuda {

// The two elements of a register, as fp32.

template <class Dev, class Element>
LISA_DEVICE float low_element(ElementPair pair) {
  return Dev::to_float(Element{static_cast<std::uint16_t>(pair)});
}

template <class Dev, class Element>
LISA_DEVICE float high_element(ElementPair pair) {
  return Dev::to_float(Element{static_cast<std::uint16_t>(pair >> 16)});
}

}  // namespace lisa::cuda
