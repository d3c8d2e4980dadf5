#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "lisa/config/dim.hpp"
#include "lisa/cpu/mask_upsampling.hpp"
#include "lisa/cpu/own_kernels.hpp"
#include "lisa/gpu/mask_upsample.hpp"
#include "lisa/image/mask_tensor.hpp"
#include "lisa/sam/upsample.hpp"

namespace lisa {
namespace detail {

/// Masks of the words that a kernel packed, int64 [N, height, words of a row], on any device.
[[nodiscard]] inline std::vector<BitMask> masks_of_words(const at::Tensor& words, const ImageSize& size) {
  const at::Tensor here = words.to(at::kCPU).contiguous();
  std::vector<BitMask> masks(static_cast<std::size_t>(here.size(0)), BitMask(size));
  const auto* word = here.const_data_ptr<std::int64_t>();
  const std::size_t words_of_mask = masks.empty() ? 0 : masks.front().words().size();
  for (BitMask& mask : masks) {
    std::memcpy(mask.row(0), word, words_of_mask * sizeof(BitMask::Word));
    word += words_of_mask;
  }
  return masks;
}

}  // namespace detail

/// Masks at the original image's size: what `mask_logits` gives, where it is above 0. The CPU's and the GPU's own
/// kernels write the bits without the logits in between; their sums are rounded in another order, so that a pixel may
/// differ whose logit is zero to six digits. LISA_KERNELS=reference takes the way over the logits.
/// @param low_res [N, s, s] in any floating dtype, on any device
/// @param image_side, resized, original as for `mask_logits`
/// @throws InputError on extents that are empty or exceed the square
[[nodiscard]] inline std::vector<BitMask> mask_bits(const at::Tensor& low_res, dim image_side, ImageExtent resized,
                                                    ImageExtent original) {
  const at::Tensor source = low_res.detach();
  if (source.dim() == 3 && source.size(0) == 0) return {};
  detail::expect_mask_extents(source.unsqueeze(1), image_side, resized, original);
  const ImageSize size{.height = static_cast<int>(original.height), .width = static_cast<int>(original.width)};
  if (const auto words = gpu::mask_row_bits(source, {.image_side = image_side,
                                                     .resized_height = resized.height,
                                                     .resized_width = resized.width,
                                                     .height = original.height,
                                                     .width = original.width}))
    return detail::masks_of_words(*words, size);
  const dim count = source.size(0), side = source.size(1);
  const auto upsampling =
      cpu::own_kernels_enabled() && side == source.size(2)
          ? cpu::MaskUpsampling::make(side, image_side, resized.height, resized.width, original.height, original.width)
          : std::nullopt;
  std::vector<BitMask> masks;
  if (!upsampling) {
    for (dim n = 0; n < count; ++n)
      masks.push_back(
          mask_from_logits(mask_logits(source.narrow(0, n, 1).unsqueeze(1), image_side, resized, original)[0][0]));
    return masks;
  }
  const at::Tensor samples = source.to(at::kCPU, at::kFloat).contiguous();
  masks.assign(static_cast<std::size_t>(count), BitMask(size));
  static const cpu::MaskRowKernels kernels = cpu::find_mask_row_kernels();
  // The rows of all masks in one order. A thread is worth waking for the sums of a few million pixels.
  const dim grain = std::max<dim>(32, (dim{1} << 21) / original.width);
  at::parallel_for(0, count * original.height, grain, [&](dim begin, dim end) {
    while (begin < end) {
      const dim n = begin / original.height, first = begin % original.height;
      const dim last = std::min(original.height, first + end - begin);
      upsampling->run(kernels, samples.const_data_ptr<float>() + n * side * side, 0.0F, first, last,
                      masks[static_cast<std::size_t>(n)].row(static_cast<int>(first)));
      begin += last - first;
    }
  });
  return masks;
}

}  // namespace lisa
