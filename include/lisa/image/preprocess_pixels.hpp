#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/image_preprocess.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/preprocess.hpp"
#include "lisa/image/preprocess_tensor.hpp"
#include "lisa/image/resize.hpp"

/// Preprocessing of pictures whose pixels are a tensor, on a GPU by its kernels: what is copied there are the picture's
/// bytes and not the planes.
namespace lisa {
namespace detail {

template <class T>
[[nodiscard]] at::Tensor table_on(const std::vector<T>& values, c10::Device device) {
  return at::tensor(at::ArrayRef<T>(values), c10::CppTypeToScalarType<T>::value).to(device);
}

[[nodiscard]] inline gpu::AxisTaps taps_on(const resize_detail::Taps& taps, c10::Device device) {
  return {.first = table_on(taps.first, device),
          .count = table_on(taps.count, device),
          .weights = table_on(taps.value, device).view({-1, taps.stride})};
}

/// @param levels of the encoder  @param side of its planes
[[nodiscard]] inline gpu::PictureTables picture_tables(ImageSize picture, const ResizedRegion& wanted,
                                                       const LevelTable& levels, int side, c10::Device device) {
  const Rect& region = wanted.region;
  const resize_detail::Taps rows =
      resize_detail::make_taps(picture.height, wanted.size.height, region.y, region.height, wanted.filter);
  std::vector<float> values;
  for (const auto& channel : levels) values.insert(values.end(), channel.begin(), channel.end());
  gpu::PictureTables tables{.columns = {},
                            .rows = taps_on(rows, device),
                            .levels = table_on(values, device),
                            .first_row = rows.first.front(),
                            .row_count = rows.first.back() + rows.count.back() - rows.first.front(),
                            .left = region.x,
                            .width = region.width,
                            .side = side};
  if (wanted.size.width != picture.width)
    tables.columns = taps_on(
        resize_detail::make_taps(picture.width, wanted.size.width, region.x, region.width, wanted.filter), device);
  return tables;
}

/// @throws InputError unless pixels are uint8 [H, W, 3] with at least one pixel
[[nodiscard]] inline ImageSize picture_size(const at::Tensor& pixels) {
  if (pixels.scalar_type() != at::kByte || pixels.dim() != 3 || pixels.size(2) != 3 || pixels.numel() == 0)
    throw InputError("pixels", found_expected(std::string(at::toString(pixels.scalar_type())) + " of " +
                                                  std::to_string(pixels.dim()) + " dimensions",
                                              "Byte [H, W, 3]"));
  return {static_cast<int>(pixels.size(0)), static_cast<int>(pixels.size(1))};
}

/// The planes by a GPU's kernels; nothing where they do not apply.
/// @param side of the planes
[[nodiscard]] inline std::optional<at::Tensor> planes_by_kernels(const at::Tensor& pixels, const ResizedRegion& wanted,
                                                                 const LevelTable& levels, int side,
                                                                 at::ScalarType dtype) {
  if (!gpu::picture_kernels_apply(pixels.device())) return std::nullopt;
  return gpu::picture_planes(pixels, picture_tables(picture_size(pixels), wanted, levels, side, pixels.device()),
                             dtype);
}

/// The same picture in this machine's memory.
[[nodiscard]] inline Image image_of(const at::Tensor& pixels, ImageSize size) {
  const at::Tensor bytes = pixels.to(at::kCPU).contiguous();
  Image image = make_image(size);
  std::memcpy(image.pixels.data(), bytes.const_data_ptr<std::uint8_t>(), image.pixels.size());
  return image;
}

}  // namespace detail

/// What the SAM image encoder is given: `SamInput::image` of the same picture, rounded to `dtype`.
/// @param pixels uint8 [H, W, 3] on any device
/// @return       [3, side, side] on that device
/// @throws InputError for other tensors
[[nodiscard]] inline at::Tensor sam_planes(const at::Tensor& pixels, const SamPreprocess& config = {},
                                           at::ScalarType dtype = at::kFloat) {
  const ImageSize size = detail::picture_size(pixels);
  if (const auto planes =
          detail::planes_by_kernels(pixels, sam_region(size, config), level_table(config), config.side, dtype))
    return *planes;
  return preprocess_sam(detail::image_of(pixels, size), config).image.to(pixels.device(), dtype);
}

/// What the CLIP vision tower is given: `ClipInput::pixel_values` of the same picture, rounded to `dtype`.
/// @param pixels uint8 [H, W, 3] on any device
/// @return       [3, crop, crop] on that device
/// @throws InputError for other tensors or an invalid configuration
[[nodiscard]] inline at::Tensor clip_planes(const at::Tensor& pixels, const ClipPreprocess& config = {},
                                            at::ScalarType dtype = at::kFloat) {
  const ImageSize size = detail::picture_size(pixels);
  if (const auto planes =
          detail::planes_by_kernels(pixels, clip_region(size, config), level_table(config), config.crop, dtype))
    return *planes;
  return preprocess_clip(detail::image_of(pixels, size), config).pixel_values.to(pixels.device(), dtype);
}

}  // namespace lisa
