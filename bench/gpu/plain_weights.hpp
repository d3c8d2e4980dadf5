#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/linear.h>

#include <optional>

#include "lisa/nn/dequantise_tensor.hpp"
#include "lisa/nn/quantised_linear.hpp"

namespace lisa::gpu_bench {

/// x W^T + b by ATen, with the library's weights in x's dtype: as they are where they have it, else converted for this
/// one call, restored first where they are quantised.
inline at::Tensor plain_linear(const at::Tensor& x, const at::Tensor& weight,
                               const std::optional<at::Tensor>& bias = std::nullopt) {
  const dim in = x.size(-1);
  const at::Tensor dense =
      is_quantised(weight) ? dequantised_tensor(weight, quantised_format(weight, in), in, 0, weight.size(0)) : weight;
  return at::linear(x, dense.to(x.scalar_type()), bias ? std::optional(bias->to(x.scalar_type())) : std::nullopt);
}

}  // namespace lisa::gpu_bench
