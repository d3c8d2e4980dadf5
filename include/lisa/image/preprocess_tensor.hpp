#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <memory>
#include <string>
#include <utility>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/preprocess.hpp"

namespace lisa {

/// What the SAM image encoder is given for one image, with the 8-bit stage it came from; where and in which dtype it
/// was made.
struct SamInput {
  at::Tensor image;         ///< [3, side, side], normalised, zero to the right and below
  at::Tensor resized;       ///< uint8 [h, w, 3], the image after resizing (`sam_resized_u8` of a dump)
  ImageSize original_size;  ///< size masks are brought back to
  ImageSize resized_size;   ///< part of `image` that is not padding
};

/// What the CLIP vision tower is given for one image, with the 8-bit stage it came from.
struct ClipInput {
  at::Tensor pixel_values;  ///< [3, crop, crop]
  at::Tensor crop;          ///< uint8 [crop, crop, 3], the centre square
};

/// The bytes of an image as a tensor that owns it, uint8 [H, W, 3]. The image must have pixels.
[[nodiscard]] inline at::Tensor pixel_tensor(Image image) {
  const auto owner = std::make_shared<Image>(std::move(image));
  return at::from_blob(owner->pixels.data(), {owner->height, owner->width, 3}, [owner](void*) {}, at::kByte);
}

/// Normalised float32 tensor [3, side, side] of an image in its upper left corner, zeros elsewhere. Throws InputError
/// when the image is invalid or larger than the square.
[[nodiscard]] inline at::Tensor normalized_tensor(const Image& image, const LevelTable& table, int side) {
  require_valid(image);
  if (image.width > side || image.height > side)
    throw InputError("image", found_expected(std::to_string(image.width) + "x" + std::to_string(image.height),
                                             "at most " + std::to_string(side) + " pixels on each side"));
  at::Tensor out = aten::empty({3, side, side}, at::kFloat);
  normalize_planes(image, table, side, out.mutable_data_ptr<float>());
  return out;
}

/// The whole SAM preprocessing of one image: resize, normalise, then pad with zeros (LISA, chat.py `preprocess`), in
/// fp32. Throws InputError for an invalid image.
[[nodiscard]] inline SamInput preprocess_sam(const Image& image, const SamPreprocess& config = {}) {
  SamPixels pixels = sam_pixels(image, config);
  at::Tensor tensor = normalized_tensor(pixels.resized, level_table(config), config.side);
  return {std::move(tensor), pixel_tensor(std::move(pixels.resized)), pixels.original_size, pixels.resized_size};
}

/// The whole CLIP preprocessing of one image (transformers 4.31, CLIPImageProcessor), in fp32. Throws InputError for an
/// invalid image or configuration.
[[nodiscard]] inline ClipInput preprocess_clip(const Image& image, const ClipPreprocess& config = {}) {
  Image crop = clip_pixels(image, config);
  at::Tensor tensor = normalized_tensor(crop, level_table(config), config.crop);
  return {std::move(tensor), pixel_tensor(std::move(crop))};
}

}  // namespace lisa
