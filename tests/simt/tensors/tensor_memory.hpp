#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <vector>

#include "lisa/cuda/element.hpp"
#include "memory.hpp"

namespace simt {

template <class Element>
constexpr at::ScalarType dtype_of = std::is_same_v<Element, float>              ? at::kFloat
                                    : std::is_same_v<Element, lisa::cuda::Bf16> ? at::kBFloat16
                                                                                : at::kHalf;
template <class Element>
constexpr double unit_roundoff = std::is_same_v<Element, lisa::cuda::Bf16> ? 0x1p-8 : 0x1p-11;

template <class Element>
std::vector<Element> elements_of(const at::Tensor& tensor) {
  std::vector<Element> elements(static_cast<std::size_t>(tensor.numel()));
  std::memcpy(elements.data(), tensor.contiguous().const_data_ptr(), elements.size() * sizeof(Element));
  return elements;
}

/// The emulator's copy of a tensor, as a tensor: what kernels may read.
template <class Element>
at::Tensor in_memory(Memory& memory, const at::Tensor& tensor, const char* name) {
  auto* const copy = const_cast<Element*>(memory.input(elements_of<Element>(tensor), name));
  return at::from_blob(copy, tensor.sizes(), tensor.options());
}

/// The same for what kernels may write as well.
template <class Element>
at::Tensor in_writable_memory(Memory& memory, const at::Tensor& tensor, const char* name) {
  return at::from_blob(memory.in_out(elements_of<Element>(tensor), name), tensor.sizes(), tensor.options());
}

}  // namespace simt
