#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/kernel_choice.hpp"
#include "lisa/gpu/kernels.hpp"
#include "lisa/gpu/tensor_arguments.hpp"

namespace lisa::gpu {

/// Extents of a mask's way to its image's size, in pixels.
struct MaskExtents {
  dim image_side = 0;                         ///< of the padded square
  dim resized_height = 0, resized_width = 0;  ///< the image's part of the square
  dim height = 0, width = 0;                  ///< of the image
};

/// Bits of a word of `mask_row_bits`.
inline constexpr dim mask_word_bits = 64;

/// Fills the arguments for the bits by rows from tensors on any device.
/// @param low_res [N, s, s] of Element, contiguous
/// @param words   int64 [N, height, ceil(width / 64)], contiguous
template <class Element>
[[nodiscard]] cuda::MaskUpsampleArguments<Element> mask_upsample_arguments(const at::Tensor& low_res,
                                                                           const at::Tensor& words,
                                                                           const MaskExtents& extents) {
  return {.low_res = elements_of<Element>(low_res),
          .logits = nullptr,
          .row_bits = mutable_elements_of<std::uint64_t>(words),
          .column_bits = nullptr,
          .run_lengths = {},
          .threshold = 0.0F,
          .masks = kernel_extent(low_res.size(0)),
          .side = kernel_extent(low_res.size(1)),
          .image_side = kernel_extent(extents.image_side),
          .resized_height = kernel_extent(extents.resized_height),
          .resized_width = kernel_extent(extents.resized_width),
          .height = kernel_extent(extents.height),
          .width = kernel_extent(extents.width)};
}

/// COCO's run lengths of masks, and what a launch makes them in.
struct MaskRunLengthTensors {
  at::Tensor counts;         ///< int32 [N, capacity]: the first run lengths of each mask
  at::Tensor runs;           ///< int32 [N]: how many there are, which may be more than `capacity`
  at::Tensor column_bits;    ///< int32 [N, ceil(height / 32), width]
  at::Tensor tickets;        ///< int32 [N, strips + 1]: zeros before a launch, and after it
  at::Tensor strip_changes;  ///< int32 [N, strips, 2]
  at::Tensor positions;      ///< int32 [N, strips, mask_strip_room]

  /// @param options of the device that launches
  [[nodiscard]] static MaskRunLengthTensors make(dim masks, dim height, dim width, dim capacity,
                                                 const at::TensorOptions& options) {
    const at::TensorOptions words = options.dtype(at::kInt);
    const dim strips = cuda::mask_strips(kernel_extent(width));
    return {aten::empty({masks, capacity}, words),
            aten::empty({masks}, words),
            aten::empty({masks, (height + cuda::mask_tile_height - 1) / cuda::mask_tile_height, width}, words),
            aten::zeros({masks, strips + 1}, words),
            aten::empty({masks, strips, 2}, words),
            aten::empty({masks, strips, cuda::mask_strip_room(kernel_extent(height), kernel_extent(capacity))}, words)};
  }

  /// Asks for the run lengths beside the bits by rows.
  template <class Element>
  void fill(cuda::MaskUpsampleArguments<Element>& arguments) const {
    arguments.column_bits = mutable_elements_of<std::uint32_t>(column_bits);
    arguments.run_lengths = {.counts = mutable_elements_of<std::uint32_t>(counts),
                             .runs = mutable_elements_of<std::uint32_t>(runs),
                             .tickets = mutable_elements_of<std::uint32_t>(tickets),
                             .strip_changes = mutable_elements_of<cuda::ColumnChanges>(strip_changes),
                             .positions = mutable_elements_of<std::uint32_t>(positions),
                             .capacity = kernel_extent(counts.size(1))};
  }
};

namespace detail {

template <class Element>
[[nodiscard]] std::optional<at::Tensor> launch_mask_row_bits(const at::Tensor& low_res, const MaskExtents& extents) {
  if constexpr (kernels_linked) {
    const dim words_per_row = (extents.width + mask_word_bits - 1) / mask_word_bits;
    at::Tensor words =
        aten::empty({low_res.size(0), extents.height, words_per_row}, low_res.options().dtype(at::kLong));
    const auto arguments = mask_upsample_arguments<Element>(low_res, words, extents);
    if (cuda::mask_upsample_refusal(arguments) != nullptr) return std::nullopt;
    launch_on_current_stream(low_res.device(), "mask_upsample", [&](auto stream) {
      return launch_mask_upsample(arguments, cuda::MaskRounding::composed, stream);
    });
    return words;
  }
  return std::nullopt;
}

}  // namespace detail

/// Where the full-size logits of masks are above 0, by a CUDA kernel, with both interpolations as one sum.
/// @param low_res [N, s, s], fp32, bf16 or fp16
/// @return int64 [N, height, ceil(width / 64)] on the same GPU, queued on the current stream: bit x % 64 of word x /
/// 64,
///   as in `BitMask`; nothing where the kernel does not apply
[[nodiscard]] inline std::optional<at::Tensor> mask_row_bits(const at::Tensor& low_res, const MaskExtents& extents) {
  if (!kernels_apply({kernel_operand(low_res)}) || low_res.size(1) != low_res.size(2)) return std::nullopt;
  const at::Tensor source = low_res.contiguous();
  switch (source.scalar_type()) {
    case at::kFloat:
      return detail::launch_mask_row_bits<float>(source, extents);
    case at::kBFloat16:
      return detail::launch_mask_row_bits<cuda::Bf16>(source, extents);
    case at::kHalf:
      return detail::launch_mask_row_bits<cuda::Fp16>(source, extents);
    default:
      return std::nullopt;
  }
}

}  // namespace lisa::gpu
