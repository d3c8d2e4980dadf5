#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "lisa/base/error.hpp"
#include "lisa/nn/parameter.hpp"

namespace lisa {

/// Extent that any size satisfies, in `expect_shape`.
inline constexpr dim any_extent = -1;

/// Refuses a tensor that enters the library with the wrong shape.
/// @param name how the caller knows the tensor, as the message names it
/// @param expected extents; `any_extent` where every positive size is allowed
/// @throws InputError naming the tensor, the found and the expected shape
inline void expect_shape(const std::string& name, const at::Tensor& tensor, const Shape& expected) {
  if (!tensor.defined()) throw InputError(name, found_expected("no tensor", to_string(expected)));
  bool fits = tensor.dim() == static_cast<std::int64_t>(expected.size());
  for (std::size_t i = 0; fits && i < expected.size(); ++i) {
    const std::int64_t extent = tensor.size(static_cast<std::int64_t>(i));
    fits = expected[i] == any_extent ? extent > 0 : extent == expected[i];
  }
  if (!fits) throw InputError(name, found_expected("shape " + to_string(shape_of(tensor)), to_string(expected)));
}

}  // namespace lisa
