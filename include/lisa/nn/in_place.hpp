#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include "lisa/aten/operators.hpp"

/// Operations in the memory of a tensor that nobody else holds, since fresh memory costs more than the arithmetic.
/// Where gradients are recorded they make new tensors instead.
namespace lisa {

/// @param temporary of the sum's shape  @return temporary + other
[[nodiscard]] inline at::Tensor add_in_place(at::Tensor temporary, const at::Tensor& other) {
  return at::GradMode::is_enabled() ? temporary.add(other) : temporary.add_(other);
}

[[nodiscard]] inline at::Tensor gelu_in_place(at::Tensor temporary) {
  return at::GradMode::is_enabled() ? aten::gelu(temporary) : aten::gelu_(temporary);
}

}  // namespace lisa
