#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <cstdint>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/image/mask.hpp"

namespace lisa {

/// Foreground where `logits` [H, W] (any floating dtype, any device) exceed `threshold`; NaN is background. Throws
/// InputError for other shapes.
[[nodiscard]] inline BitMask mask_from_logits(const at::Tensor& logits, float threshold = 0.0F) {
  if (logits.dim() != 2 || logits.size(0) < 1 || logits.size(1) < 1)
    throw InputError("mask logits", found_expected(std::to_string(logits.dim()) + " dimensions, " +
                                                       std::to_string(logits.numel()) + " values",
                                                   "[H, W]"));
  const at::Tensor values = logits.detach().to(at::kCPU, at::kFloat).contiguous();
  return mask_from_logits(values.const_data_ptr<float>(),
                          {static_cast<int>(values.size(0)), static_cast<int>(values.size(1))}, threshold);
}

/// `mask` as a bool tensor [H, W].
[[nodiscard]] inline at::Tensor mask_tensor(const BitMask& mask) {
  std::vector<std::uint8_t> bytes = mask_bytes(mask);
  return at::from_blob(bytes.data(), {mask.height(), mask.width()}, at::kByte).to(at::kBool);
}

}  // namespace lisa
