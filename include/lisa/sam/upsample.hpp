#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/upsample_bilinear2d.h>

#include <algorithm>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/config/sam.hpp"
#include "lisa/nn/expect_shape.hpp"

namespace lisa {

/// Height and width in pixels.
struct ImageExtent {
  dim height = 0, width = 0;
  bool operator==(const ImageExtent&) const = default;
};

namespace detail {

inline void expect_mask_extents(const at::Tensor& low_res, dim image_side, ImageExtent resized, ImageExtent original) {
  expect_shape("low_res masks", low_res, {any_extent, any_extent, any_extent, any_extent});
  const auto within = [&](dim extent) { return extent >= 1 && extent <= image_side; };
  const auto text = [](ImageExtent e) { return std::to_string(e.height) + " x " + std::to_string(e.width); };
  if (!within(resized.height) || !within(resized.width)) {
    throw InputError("resized extent", found_expected(text(resized), "sides of 1 to " + std::to_string(image_side)));
  }
  if (original.height < 1 || original.width < 1) {
    throw InputError("original extent", found_expected(text(original), "sides of at least 1"));
  }
}

}  // namespace detail

/// Mask logits at the original image's size: low-res logits are interpolated to the padded square the encoder saw,
/// cropped to the image's part of it and interpolated to the image (SAM's postprocess_masks, in fp32 as LISA's).
/// @param low_res [N, M, s, s] in any floating dtype
/// @param image_side side of the padded square
/// @param resized the image's extent inside the square
/// @param original the image's extent
/// @return fp32 [N, M, original.height, original.width]
/// @throws InputError on extents that are empty or exceed the square
[[nodiscard]] inline at::Tensor mask_logits(const at::Tensor& low_res, dim image_side, ImageExtent resized,
                                            ImageExtent original) {
  detail::expect_mask_extents(low_res, image_side, resized, original);
  const at::Tensor square =
      at::upsample_bilinear2d(low_res.to(at::kFloat), {image_side, image_side}, /*align_corners=*/false);
  const at::Tensor cropped = square.narrow(2, 0, resized.height).narrow(3, 0, resized.width);
  return at::upsample_bilinear2d(cropped, {original.height, original.width}, /*align_corners=*/false);
}

}  // namespace lisa
