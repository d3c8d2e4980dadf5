#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/resize.hpp"

namespace lisa {

/// Preprocessing of the Segment Anything image encoder. Defaults are the published ones (LISA chat.py; SAM's
/// build_sam.py and utils/transforms.py).
struct SamPreprocess {
  int side = 1024;                                        ///< square input side, pixels
  std::array<float, 3> mean{123.675F, 116.28F, 103.53F};  ///< of 0..255 values, red green blue
  std::array<float, 3> std{58.395F, 57.12F, 57.375F};
  bool operator==(const SamPreprocess&) const = default;
};

/// Preprocessing of the CLIP vision tower, the fields of its preprocessor_config.json. Defaults are those of
/// openai/clip-vit-large-patch14; the 336-pixel tower sets both sizes to 336.
struct ClipPreprocess {
  int shortest_edge = 224;  ///< length of the short side after resizing, pixels
  int crop = 224;           ///< side of the square taken from the middle, pixels
  double rescale_factor = 1.0 / 255.0;
  std::array<float, 3> mean{0.48145466F, 0.4578275F, 0.40821073F};  ///< of rescaled values
  std::array<float, 3> std{0.26862954F, 0.26130258F, 0.27577711F};
  bool operator==(const ClipPreprocess&) const = default;
};

/// Normalised value of every 8-bit level, one table per channel.
using LevelTable = std::array<std::array<float, 256>, 3>;

/// (level - mean) / std in float32.
[[nodiscard]] inline LevelTable level_table(const SamPreprocess& config) {
  LevelTable table{};
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t level = 0; level < 256; ++level)
      table[c][level] = (static_cast<float>(level) - config.mean[c]) / config.std[c];
  return table;
}

/// The level is rescaled in float64 and rounded to float32, then (x - mean) / std in float32, as Hugging Face's
/// CLIPImageProcessor does on NumPy arrays.
[[nodiscard]] inline LevelTable level_table(const ClipPreprocess& config) {
  LevelTable table{};
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t level = 0; level < 256; ++level) {
      const auto rescaled = static_cast<float>(static_cast<double>(level) * config.rescale_factor);
      table[c][level] = (rescaled - config.mean[c]) / config.std[c];
    }
  return table;
}

/// Size after scaling the long side to `side`: int(x * scale + 0.5), scale = side / max(height, width) in float64
/// (SAM, ResizeLongestSide.get_preprocess_shape). A short side that would round to 0 becomes 1, where the original
/// fails.
[[nodiscard]] inline ImageSize longest_side_size(ImageSize size, int side) {
  const double scale = side * 1.0 / std::max(size.height, size.width);
  const auto scaled = [&](int x) { return std::max(1, static_cast<int>(x * scale + 0.5)); };
  return {scaled(size.height), scaled(size.width)};
}

/// Size after scaling the short side to `side`; the long side is int(side * long / short), truncated (transformers,
/// get_resize_output_image_size). Throws InputError when the long side leaves the range of int.
[[nodiscard]] inline ImageSize shortest_edge_size(ImageSize size, int side) {
  const int shorter = std::min(size.height, size.width);
  const int longer = std::max(size.height, size.width);
  const std::int64_t product = static_cast<std::int64_t>(side) * longer;
  const double scaled = static_cast<double>(product) / shorter;
  if (scaled > std::numeric_limits<int>::max())
    throw InputError("image", "found " + std::to_string(size.width) + "x" + std::to_string(size.height) +
                                  " pixels, expected an aspect ratio that fits a short side of " +
                                  std::to_string(side));
  const int rest = static_cast<int>(scaled);
  return size.width <= size.height ? ImageSize{rest, side} : ImageSize{side, rest};
}

/// A region of a picture at another size, and the filter that takes it there.
struct ResizedRegion {
  ImageSize size;  ///< of the whole picture after resizing
  Rect region;     ///< inside that
  Resample filter;
};

/// What SAM sees of a picture: all of it, its long side `config.side` long.
[[nodiscard]] inline ResizedRegion sam_region(ImageSize picture, const SamPreprocess& config) {
  const ImageSize size = longest_side_size(picture, config.side);
  return {size, {0, 0, size.width, size.height}, Resample::bilinear};
}

/// What CLIP sees of a picture: the centre square of side `config.crop`. Throws InputError for a crop larger than the
/// short side.
[[nodiscard]] inline ResizedRegion clip_region(ImageSize picture, const ClipPreprocess& config) {
  if (config.crop < 1 || config.crop > config.shortest_edge)
    throw InputError("crop", found_expected(std::to_string(config.crop),
                                            "1.." + std::to_string(config.shortest_edge) + " (shortest_edge)"));
  const ImageSize size = shortest_edge_size(picture, config.shortest_edge);
  return {size,
          {(size.width - config.crop) / 2, (size.height - config.crop) / 2, config.crop, config.crop},
          Resample::bicubic};
}

/// 8-bit stage of the SAM path.
struct SamPixels {
  Image resized;            ///< long side = SamPreprocess::side
  ImageSize original_size;  ///< of the image as read
  ImageSize resized_size;   ///< of `resized`: the part of the square input that is not padding
};

/// `image` resized with Pillow's bilinear filter so that its long side is `config.side`. Throws InputError for an
/// invalid image.
[[nodiscard]] inline SamPixels sam_pixels(const Image& image, const SamPreprocess& config = {}) {
  require_valid(image);
  const ResizedRegion whole = sam_region(image.size(), config);
  return {resize(image, whole.size, whole.filter), image.size(), whole.size};
}

/// 8-bit stage of the CLIP path: short side to `config.shortest_edge` with Pillow's bicubic filter, then the centre
/// square of side `config.crop`. Only the square is computed, so an extreme aspect ratio costs no memory. The borders
/// of an image that is not square are lost, as in the original. Throws InputError for an invalid image or a crop larger
/// than the short side.
[[nodiscard]] inline Image clip_pixels(const Image& image, const ClipPreprocess& config = {}) {
  require_valid(image);
  const ResizedRegion square = clip_region(image.size(), config);
  return resize_region(image, square.size, square.region, square.filter);
}

/// Writes table[c][pixel] for each channel into three planes of side x side floats, the image in the upper left corner
/// and zeros elsewhere: out [3, side, side]. Neither side of the image may exceed `side`.
inline void normalize_planes(const Image& image, const LevelTable& table, int side, float* out) {
  const auto width = static_cast<std::size_t>(side);
  const std::size_t plane = width * width;
  for (int y = 0; y < side; ++y) {
    float* const row = out + static_cast<std::size_t>(y) * width;
    const int filled = y < image.height ? image.width : 0;
    for (std::size_t c = 0; c < 3; ++c) {
      float* const target = row + c * plane;
      const float* const level = table[c].data();
      const std::uint8_t* const source = filled > 0 ? image.row(y) + c : nullptr;
      for (int x = 0; x < filled; ++x) target[x] = level[source[static_cast<std::size_t>(x) * 3]];
      std::fill(target + filled, target + side, 0.0F);
    }
  }
}

}  // namespace lisa
