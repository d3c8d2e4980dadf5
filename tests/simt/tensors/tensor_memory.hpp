#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <vector>

#include "lisa/config/dim.hpp"
#include "lisa/cuda/element.hpp"
#include "memory.hpp"

namespace simt {

template <class Element>
constexpr at::ScalarType dtype_of = std::is_same_v<Element, float>              ? at::kFloat
                                    : std::is_same_v<Element, lisa::cuda::Bf16> ? at::kBFloat16
                                                                                : at::kHalf;
template <class Element>
constexpr double unit_roundoff = std::is_same_v<Element, float>              ? 0x1p-24
                                 : std::is_same_v<Element, lisa::cuda::Bf16> ? 0x1p-8
                                                                             : 0x1p-11;

/// The emulator's copy of a tensor, with its strides: what kernels may read.
inline at::Tensor in_memory(Memory& memory, const at::Tensor& tensor, const char* name) {
  lisa::dim elements = tensor.numel() == 0 ? 0 : 1;  // from the first to the last
  for (lisa::dim i = 0; elements > 0 && i < tensor.dim(); ++i) elements += (tensor.size(i) - 1) * tensor.stride(i);
  std::vector<std::byte> bytes(static_cast<std::size_t>(elements) * tensor.element_size());
  std::memcpy(bytes.data(), tensor.const_data_ptr(), bytes.size());
  auto* const copy = const_cast<std::byte*>(memory.input(bytes, name));
  return at::from_blob(copy, tensor.sizes(), tensor.strides(), tensor.options());
}

/// Memory for a kernel's results, as a tensor in one piece.
template <class Element>
at::Tensor output_tensor(Memory& memory, at::IntArrayRef sizes, const char* name) {
  lisa::dim elements = 1;
  for (const lisa::dim size : sizes) elements *= size;
  return at::from_blob(memory.output<Element>(static_cast<std::size_t>(elements), name), sizes,
                       at::TensorOptions().dtype(dtype_of<Element>));
}

/// The emulator's copy of a tensor in one piece, for what kernels may write as well.
template <class Element>
at::Tensor in_writable_memory(Memory& memory, const at::Tensor& tensor, const char* name) {
  std::vector<Element> elements(static_cast<std::size_t>(tensor.numel()));
  std::memcpy(elements.data(), tensor.contiguous().const_data_ptr(), elements.size() * sizeof(Element));
  return at::from_blob(memory.in_out(elements, name), tensor.sizes(), tensor.options());
}

}  // namespace simt
