#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <limits>

#include "lisa/config/dim.hpp"

namespace lisa::gpu {

/// A tensor's memory as a kernel's element type.
template <class Element>
[[nodiscard]] const Element* elements_of(const at::Tensor& tensor) {
  return reinterpret_cast<const Element*>(tensor.const_data_ptr());
}
template <class Element>
[[nodiscard]] Element* mutable_elements_of(const at::Tensor& tensor) {
  return reinterpret_cast<Element*>(tensor.mutable_data_ptr());
}

/// An extent as kernels count: what exceeds int becomes its largest value, which every kernel refuses.
[[nodiscard]] inline int kernel_extent(dim extent) {
  return static_cast<int>(std::clamp<dim>(extent, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()));
}

}  // namespace lisa::gpu
