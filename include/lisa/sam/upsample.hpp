#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/config/dim.hpp"
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

/// The image's part of the padded square, at least fp32 [N, M, resized.height, resized.width].
[[nodiscard]] inline at::Tensor unpadded_logits(const at::Tensor& low_res, dim image_side, ImageExtent resized) {
  const auto wide = c10::promoteTypes(low_res.scalar_type(), at::kFloat);
  return aten::upsample_bilinear2d(low_res.to(wide), {image_side, image_side}, /*align_corners=*/false)
      .narrow(2, 0, resized.height)
      .narrow(3, 0, resized.width);
}

/// `mask_logits` into existing memory, whose extent is the original's.
inline void mask_logits_out(at::Tensor& out, const at::Tensor& low_res, dim image_side, ImageExtent resized) {
  aten::upsample_bilinear2d_out(out, unpadded_logits(low_res, image_side, resized), {out.size(2), out.size(3)},
                                /*align_corners=*/false);
}

}  // namespace detail

/// Mask logits at the original image's size: low-res logits are interpolated to the padded square the encoder saw,
/// cropped to the image's part of it and interpolated to the image (SAM's postprocess_masks, in fp32 as LISA's).
/// @param low_res [N, M, s, s] in any floating dtype
/// @param image_side side of the padded square
/// @param resized the image's extent inside the square
/// @param original the image's extent
/// @return fp32 [N, M, original.height, original.width] (fp64 for fp64)
/// @throws InputError on extents that are empty or exceed the square
[[nodiscard]] inline at::Tensor mask_logits(const at::Tensor& low_res, dim image_side, ImageExtent resized,
                                            ImageExtent original) {
  detail::expect_mask_extents(low_res, image_side, resized, original);
  return aten::upsample_bilinear2d(detail::unpadded_logits(low_res, image_side, resized),
                                   {original.height, original.width}, /*align_corners=*/false);
}

/// Offset of the two thresholds that `stability_score` compares, in logits; the default of SAM's mask generator.
inline constexpr double default_stability_offset = 1.0;

namespace detail {

/// `inner / outer` of two pixel counts, 1 where both are 0.
[[nodiscard]] inline at::Tensor area_ratio(const at::Tensor& inner, const at::Tensor& outer) {
  const at::Tensor ratio = inner.to(at::kFloat).div(outer.to(at::kFloat));
  return ratio.masked_fill(outer.eq(0), 1.0);
}

}  // namespace detail

/// How little a mask depends on its threshold: the area above +offset as a share of the area above -offset (SAM's
/// calculate_stability_score at threshold 0). A mask without any pixel above -offset counts as stable.
/// @param logits [..., h, w]
/// @return fp32 [...], 0 to 1
[[nodiscard]] inline at::Tensor stability_score(const at::Tensor& logits, double offset = default_stability_offset) {
  return detail::area_ratio(logits.gt(offset).count_nonzero({-2, -1}), logits.gt(-offset).count_nonzero({-2, -1}));
}

/// Masks at the original image's size without their logits.
struct BinaryMasks {
  at::Tensor masks;      ///< bool [N, M, height, width], true where the logit is above 0
  at::Tensor stability;  ///< fp32 [N, M], see `stability_score`
};

/// Thresholds what `mask_logits` gives, one mask at a time, so that the logits of a single mask are all that is held
/// beside the result. Not differentiable. Arguments and errors as for `mask_logits`.
[[nodiscard]] inline BinaryMasks binary_masks(const at::Tensor& low_res, dim image_side, ImageExtent resized,
                                              ImageExtent original) {
  detail::expect_mask_extents(low_res, image_side, resized, original);
  const dim n = low_res.size(0), m = low_res.size(1);
  const at::Tensor source = low_res.detach().flatten(0, 1).unsqueeze(1);  // [N * M, 1, s, s]
  const at::TensorOptions options = source.options().dtype(at::kFloat);
  at::Tensor masks = aten::empty({n * m, 1, original.height, original.width}, options.dtype(at::kBool));
  at::Tensor logits = aten::empty({1, 1, original.height, original.width}, options);
  at::Tensor above = aten::empty(logits.sizes(), options.dtype(at::kBool));
  const auto area = [&](double threshold) {
    aten::gt_out(above, logits, threshold);
    return above.count_nonzero();
  };
  std::vector<at::Tensor> inner, outer;
  for (dim i = 0; i < n * m; ++i) {
    detail::mask_logits_out(logits, source.narrow(0, i, 1), image_side, resized);
    at::Tensor mask = masks.narrow(0, i, 1);
    aten::gt_out(mask, logits, 0);
    inner.push_back(area(default_stability_offset));
    outer.push_back(area(-default_stability_offset));
  }
  return {masks.view({n, m, original.height, original.width}),
          detail::area_ratio(aten::stack(inner), aten::stack(outer)).view({n, m})};
}

}  // namespace lisa
