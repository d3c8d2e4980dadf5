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

/// Inputs and fixed-point weights of each output along one axis, int32 on the picture's device.
struct AxisTaps {
  at::Tensor first;    // [outputs]: the first input
  at::Tensor count;    // [outputs]: how many inputs
  at::Tensor weights;  // [outputs, most inputs], in units of 2^-22
};

/// How a region of a resized picture becomes what an image encoder takes.
struct PictureTables {
  AxisTaps columns;   ///< of the region; undefined where the picture's width is kept
  AxisTaps rows;      ///< of the region
  at::Tensor levels;  ///< fp32 [3, 256]: the normalised value of each byte
  dim first_row = 0;  ///< of the picture that `rows` names
  dim row_count = 0;  ///< from that one on, as many as `rows` names
  dim left = 0;       ///< the region's first column, where the width is kept
  dim width = 0;      ///< of the region
  dim side = 0;       ///< of the planes, at least the region's
};

namespace detail {

[[nodiscard]] inline cuda::ResizeTaps resize_taps(const AxisTaps& taps) {
  return {.first = elements_of<int>(taps.first),
          .count = elements_of<int>(taps.count),
          .weights = elements_of<std::int32_t>(taps.weights),
          .stride = kernel_extent(taps.weights.size(1))};
}

/// The picture's rows that `tables` names, [row_count, W, 3].
[[nodiscard]] inline at::Tensor named_rows(const at::Tensor& pixels, const PictureTables& tables) {
  return pixels.narrow(0, tables.first_row, tables.row_count);
}

}  // namespace detail

/// Fills the arguments of the first kernel from tensors on any device.
/// @param pixels  uint8 [H, W, 3], contiguous
/// @param resized uint8 [row_count, width, 3], contiguous
[[nodiscard]] inline cuda::ResizeColumnsArguments resize_columns_arguments(const at::Tensor& pixels,
                                                                           const PictureTables& tables,
                                                                           const at::Tensor& resized) {
  const at::Tensor rows = detail::named_rows(pixels, tables);
  return {.image = elements_of<std::uint8_t>(rows),
          .row_stride = rows.stride(0),
          .taps = detail::resize_taps(tables.columns),
          .out = mutable_elements_of<std::uint8_t>(resized),
          .rows = kernel_extent(resized.size(0)),
          .columns = kernel_extent(resized.size(1))};
}

/// Fills the arguments of the second kernel.
/// @param rows    uint8 [row_count, width, 3]: what the first one wrote, or part of the picture
/// @param planes  [3, side, side] of Element, contiguous
/// @param resized uint8 [height, width, 3], contiguous, for the 8-bit stage; undefined where it is not wanted
template <class Element>
[[nodiscard]] cuda::ImagePlanesArguments<Element> image_planes_arguments(const at::Tensor& rows,
                                                                         const PictureTables& tables,
                                                                         const at::Tensor& planes,
                                                                         const at::Tensor& resized = {}) {
  return {.image = elements_of<std::uint8_t>(rows),
          .row_stride = rows.stride(0),
          .taps = detail::resize_taps(tables.rows),
          .first_row = kernel_extent(tables.first_row),
          .levels = elements_of<float>(tables.levels),
          .resized = resized.defined() ? mutable_elements_of<std::uint8_t>(resized) : nullptr,
          .planes = mutable_elements_of<Element>(planes),
          .height = kernel_extent(tables.rows.first.size(0)),
          .width = kernel_extent(rows.size(1)),
          .side = kernel_extent(planes.size(1))};
}

/// The part of a picture whose width is kept that takes the place of the first kernel's result.
[[nodiscard]] inline at::Tensor kept_columns(const at::Tensor& pixels, const PictureTables& tables) {
  return detail::named_rows(pixels, tables).narrow(1, tables.left, tables.width);
}

namespace detail {

/// The rows of pixels that the second kernel takes; nothing where the first one refuses.
[[nodiscard]] inline std::optional<at::Tensor> resized_columns(const at::Tensor& pixels, const PictureTables& tables) {
  if constexpr (kernels_linked) {
    if (!tables.columns.first.defined()) return kept_columns(pixels, tables);
    at::Tensor resized = aten::empty({tables.row_count, tables.width, 3}, pixels.options());
    const auto arguments = resize_columns_arguments(pixels, tables, resized);
    if (cuda::resize_columns_refusal(arguments) != nullptr) return std::nullopt;
    launch_on_current_stream(pixels.device(), "resize_columns",
                             [&](auto stream) { return launch_resize_columns(arguments, stream); });
    return resized;
  }
  return std::nullopt;
}

template <class Element>
[[nodiscard]] std::optional<at::Tensor> launch_planes(const at::Tensor& pixels, const PictureTables& tables,
                                                      at::ScalarType dtype, const at::Tensor& resized) {
  if constexpr (kernels_linked) {
    const auto rows = resized_columns(pixels, tables);
    if (!rows) return std::nullopt;
    at::Tensor planes = aten::empty({3, tables.side, tables.side}, pixels.options().dtype(dtype));
    const auto arguments = image_planes_arguments<Element>(*rows, tables, planes, resized);
    if (cuda::image_planes_refusal(arguments) != nullptr) return std::nullopt;
    launch_on_current_stream(pixels.device(), "image_planes",
                             [&](auto stream) { return launch_image_planes(arguments, stream); });
    return planes;
  }
  return std::nullopt;
}

}  // namespace detail

/// Whether `picture_planes` would ask its kernels for pixels on this device.
[[nodiscard]] inline bool picture_kernels_apply(c10::Device device, const KernelEnvironment& environment = {}) {
  return kernels_apply({KernelOperand{device, at::kByte, false}}, environment);
}

/// A picture resized, normalised, rounded to `dtype` and padded with zeros by CUDA kernels.
/// @param pixels  uint8 [H, W, 3]
/// @param dtype   fp32, bf16 or fp16
/// @param resized uint8 [height, width, 3] of the region, contiguous, to be given the 8-bit stage; or undefined
/// @return [3, side, side], queued on the current stream; nothing where the kernels do not apply
[[nodiscard]] inline std::optional<at::Tensor> picture_planes(const at::Tensor& pixels, const PictureTables& tables,
                                                              at::ScalarType dtype, const at::Tensor& resized = {}) {
  if (!picture_kernels_apply(pixels.device())) return std::nullopt;
  const at::Tensor picture = pixels.contiguous();
  switch (dtype) {
    case at::kFloat:
      return detail::launch_planes<float>(picture, tables, dtype, resized);
    case at::kBFloat16:
      return detail::launch_planes<cuda::Bf16>(picture, tables, dtype, resized);
    case at::kHalf:
      return detail::launch_planes<cuda::Fp16>(picture, tables, dtype, resized);
    default:
      return std::nullopt;
  }
}

}  // namespace lisa::gpu
