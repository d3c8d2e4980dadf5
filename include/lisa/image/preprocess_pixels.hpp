#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/image_preprocess.hpp"
#include "lisa/gpu/kernel_choice.hpp"
#include "lisa/gpu/queued_upload.hpp"
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
  return gpu::queued_upload(at::tensor(at::ArrayRef<T>(values), c10::CppTypeToScalarType<T>::value), device);
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
/// @param side    of the planes
/// @param resized to be given the 8-bit stage, see `gpu::picture_planes`; or undefined
[[nodiscard]] inline std::optional<at::Tensor> planes_by_kernels(const at::Tensor& pixels, const ResizedRegion& wanted,
                                                                 const LevelTable& levels, int side,
                                                                 at::ScalarType dtype, const at::Tensor& resized = {}) {
  if (!gpu::picture_kernels_apply(pixels.device())) return std::nullopt;
  return gpu::picture_planes(pixels, picture_tables(picture_size(pixels), wanted, levels, side, pixels.device()), dtype,
                             resized);
}

/// An image's bytes on a device, a copy; uint8 [H, W, 3].
[[nodiscard]] inline at::Tensor pixels_on(const Image& image, c10::Device device) {
  auto* const bytes = const_cast<std::uint8_t*>(image.pixels.data());  // only read
  return gpu::queued_upload(at::from_blob(bytes, {image.height, image.width, 3}, at::kByte), device);
}

/// The same picture in this machine's memory.
[[nodiscard]] inline Image image_of(const at::Tensor& pixels, ImageSize size) {
  const at::Tensor bytes = pixels.to(at::kCPU).contiguous();
  Image image = make_image(size);
  std::memcpy(image.pixels.data(), bytes.const_data_ptr<std::uint8_t>(), image.pixels.size());
  return image;
}

}  // namespace detail

/// The SAM preprocessing of a picture whose pixels are a tensor: that of the same image, rounded to `dtype`.
/// @param pixels uint8 [H, W, 3] on any device
/// @return       on that device
/// @throws InputError for other tensors
[[nodiscard]] inline SamInput preprocess_sam(const at::Tensor& pixels, const SamPreprocess& config,
                                             at::ScalarType dtype) {
  const ImageSize size = detail::picture_size(pixels);
  const ResizedRegion whole = sam_region(size, config);
  const at::Tensor resized = aten::empty({whole.size.height, whole.size.width, 3}, pixels.options());
  if (auto planes = detail::planes_by_kernels(pixels, whole, level_table(config), config.side, dtype, resized))
    return {*std::move(planes), resized, size, whole.size};
  SamInput input = preprocess_sam(detail::image_of(pixels, size), config);
  input.image = input.image.to(pixels.device(), dtype);
  input.resized = input.resized.to(pixels.device());
  return input;
}

/// The CLIP preprocessing of a picture whose pixels are a tensor: that of the same image, rounded to `dtype`.
/// @param pixels uint8 [H, W, 3] on any device
/// @return       on that device
/// @throws InputError for other tensors or an invalid configuration
[[nodiscard]] inline ClipInput preprocess_clip(const at::Tensor& pixels, const ClipPreprocess& config,
                                               at::ScalarType dtype) {
  const ImageSize size = detail::picture_size(pixels);
  const ResizedRegion square = clip_region(size, config);
  const at::Tensor crop = aten::empty({config.crop, config.crop, 3}, pixels.options());
  if (auto planes = detail::planes_by_kernels(pixels, square, level_table(config), config.crop, dtype, crop))
    return {*std::move(planes), crop};
  ClipInput input = preprocess_clip(detail::image_of(pixels, size), config);
  return {input.pixel_values.to(pixels.device(), dtype), input.crop.to(pixels.device())};
}

/// What the SAM image encoder is given: `SamInput::image` of the same picture, rounded to `dtype`; [3, side, side].
/// @throws InputError as `preprocess_sam`
[[nodiscard]] inline at::Tensor sam_planes(const at::Tensor& pixels, const SamPreprocess& config = {},
                                           at::ScalarType dtype = at::kFloat) {
  return preprocess_sam(pixels, config, dtype).image;
}

/// What the CLIP vision tower is given: `ClipInput::pixel_values` of the same picture, rounded to `dtype`;
/// [3, crop, crop]. @throws InputError as `preprocess_clip`
[[nodiscard]] inline at::Tensor clip_planes(const at::Tensor& pixels, const ClipPreprocess& config = {},
                                            at::ScalarType dtype = at::kFloat) {
  return preprocess_clip(pixels, config, dtype).pixel_values;
}

/// A picture's bytes where kernels preprocess it, uint8 [H, W, 3] on `device`, queued there; nothing where the CPU
/// does. @throws InputError for an image without pixels
[[nodiscard]] inline std::optional<at::Tensor> pixels_for_kernels(const Image& image, c10::Device device,
                                                                  const gpu::KernelEnvironment& environment = {}) {
  require_valid(image);
  if (!gpu::picture_kernels_apply(device, environment)) return std::nullopt;
  return detail::pixels_on(image, device);
}

}  // namespace lisa
