#pragma once

#include <cstdint>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/element.hpp"
#include "lisa/cuda/launch_geometry.hpp"
#include "lisa/cuda/mask_run_lengths.cuh"
#include "lisa/cuda/mask_tiles.hpp"

namespace lisa::cuda {

/// How the two interpolations of `mask_upsample` are rounded.
enum class MaskRounding {
  composed,  ///< as one sum over up to 3 x 3 low-res logits, which may be fused; the last bits of a logit differ
  two_step,  ///< as two interpolations one after the other, each product and sum rounded to fp32 once
};

/// Low-res mask logits to the original image's size: interpolated to the padded square that the encoder saw, cropped to
/// the image's part of it, interpolated to the image (SAM's postprocess_masks; bilinear, align_corners=false, positions
/// in fp32 as ATen computes them). Any of the results may be nullptr; run lengths need `column_bits`.
/// @tparam Element float, Bf16 or Fp16
template <class Element>
struct MaskUpsampleArguments {
  const Element* low_res;      // [masks, side, side]; finite
  float* logits;               // [masks, height, width]
  std::uint64_t* row_bits;     // [masks, height, ceil(width / 64)]: bit x % 64 of word x / 64, as in lisa::BitMask
  std::uint32_t* column_bits;  // [masks, ceil(height / 32), width]: bit y % 32 of word y / 32
  MaskRunLengths run_lengths;
  float threshold;  // foreground is above it; NaN is background
  int masks;
  int side;                           // of the low-res masks
  int image_side;                     // of the padded square
  int resized_height, resized_width;  // the image's extent inside the square
  int height, width;                  // the image's extent
};

/// Why the kernel can't do this, in words; nullptr where it can. `masks` may be 0.
template <class Element>
[[nodiscard]] constexpr const char* mask_upsample_refusal(const MaskUpsampleArguments<Element>& a) {
  if (a.masks < 0 || a.masks > 65535) return "mask_upsample: takes 0 to 65535 masks";
  if (a.side < 1 || a.side > a.image_side)
    return "mask_upsample: low-res masks must have at least one logit and no more per side than the padded square";
  if (a.image_side > 2048) return "mask_upsample: the padded square may have up to 2048 pixels per side";
  if (a.resized_height < 1 || a.resized_height > a.image_side || a.resized_width < 1 || a.resized_width > a.image_side)
    return "mask_upsample: the resized image must have at least one pixel and lie inside the padded square";
  if (a.height < 1 || a.height > 65535 || a.width < 1 || a.width > 65535)
    return "mask_upsample: the image must have 1 to 65535 pixels per side";
  if (a.run_lengths.counts != nullptr) {
    if (a.column_bits == nullptr) return "mask_upsample: run lengths are made from the bits by columns";
    if (a.run_lengths.capacity < 1) return "mask_upsample: there must be room for at least one run length";
  }
  return nullptr;
}

/// Launch of `mask_upsample`.
template <class Element>
[[nodiscard]] constexpr LaunchGeometry mask_upsample_geometry(const MaskUpsampleArguments<Element>& a) {
  return {{mask_strips(a.width), mask_strip_blocks(a.height), a.masks},
          mask_block_threads,
          mask_run_lengths_shared_bytes(a.run_lengths)};
}

/// The two inputs of an output of linear interpolation, and the second one's weight.
struct LinearTap {
  int first, second;
  float weight;
};

/// @param at output coordinate; @param scale inputs over outputs
template <class Dev>
LISA_DEVICE LinearTap linear_tap(int at, float scale, int inputs) {
  const float position = Dev::rounded_sum(Dev::rounded_product(scale, static_cast<float>(at) + 0.5F), -0.5F);
  const float clamped = position < 0.0F ? 0.0F : position;
  const int last = inputs - 1, found = static_cast<int>(clamped);
  const int first = found < last ? found : last;
  return {first, first < last ? first + 1 : last, Dev::rounded_sum(clamped, -static_cast<float>(first))};
}

/// One axis of both interpolations.
struct MaskAxis {
  int low_res, resized;               // coordinates
  float to_square_scale, crop_scale;  // inputs over outputs of the first and the second interpolation

  LISA_DEVICE MaskAxis(int side, int image_side, int resized_extent, int extent)
      : low_res(side),
        resized(resized_extent),
        to_square_scale(static_cast<float>(side) / static_cast<float>(image_side)),
        crop_scale(static_cast<float>(resized_extent) / static_cast<float>(extent)) {}

  /// Pixels of the square under a pixel of the image.
  template <class Dev>
  LISA_DEVICE LinearTap image_tap(int at) const {
    return linear_tap<Dev>(at, crop_scale, resized);
  }
  /// Low-res logits under a pixel of the square.
  template <class Dev>
  LISA_DEVICE LinearTap square_tap(int at) const {
    return linear_tap<Dev>(at, to_square_scale, low_res);
  }
};

/// Both interpolations along one axis as one: three neighbouring low-res coordinates, clamped to the last, and their
/// weights. The square is no smaller than the low-res mask, so that two neighbours in it lie at most one low-res step
/// apart, and three coordinates are enough.
struct ComposedTap {
  int first;
  float weights[3];
};

template <class Dev>
LISA_DEVICE ComposedTap composed_tap(const MaskAxis& axis, int at) {
  const LinearTap outer = axis.image_tap<Dev>(at);
  const LinearTap near = axis.square_tap<Dev>(outer.first), far = axis.square_tap<Dev>(outer.second);
  const float near_share = 1.0F - outer.weight, far_share = outer.weight;
  ComposedTap tap{near.first, {}};
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    const int coordinate = near.first + k;
    float weight = 0.0F;
    weight += near.first == coordinate ? near_share * (1.0F - near.weight) : 0.0F;
    weight += near.second == coordinate ? near_share * near.weight : 0.0F;
    weight += far.first == coordinate ? far_share * (1.0F - far.weight) : 0.0F;
    weight += far.second == coordinate ? far_share * far.weight : 0.0F;
    tap.weights[k] = weight;
  }
  return tap;
}

/// Logits of a lane's two columns, row after row. The low-res rows in use, interpolated along x, stay in registers;
/// going down an enlarged mask, a new one is needed only every few rows.
template <class Dev, class Element, MaskRounding rounding>
class MaskColumns;

template <class Dev, class Element>
class MaskColumns<Dev, Element, MaskRounding::composed> {
 public:
  LISA_DEVICE MaskColumns(const Element* low_res, const MaskAxis& rows, const MaskAxis& columns, const int (&x)[2])
      : low_res_(low_res), rows_(rows), side_(columns.low_res) {
#pragma unroll
    for (int j = 0; j < 2; ++j) taps_[j] = composed_tap<Dev>(columns, x[j]);
  }

  LISA_DEVICE void at_row(int y, float (&values)[2]) {
    const ComposedTap tap = composed_tap<Dev>(rows_, y);
    if (tap.first == held_ + 1) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        held_rows_[0][j] = held_rows_[1][j];
        held_rows_[1][j] = held_rows_[2][j];
        held_rows_[2][j] = along_x(tap.first + 2, j);
      }
    } else if (tap.first != held_) {
#pragma unroll
      for (int k = 0; k < 3; ++k)
#pragma unroll
        for (int j = 0; j < 2; ++j) held_rows_[k][j] = along_x(tap.first + k, j);
    }
    held_ = tap.first;
#pragma unroll
    for (int j = 0; j < 2; ++j)
      values[j] =
          tap.weights[0] * held_rows_[0][j] + tap.weights[1] * held_rows_[1][j] + tap.weights[2] * held_rows_[2][j];
  }

 private:
  LISA_DEVICE float along_x(int row, int j) const {
    const int last = side_ - 1;
    const Element* const line = low_res_ + (row < last ? row : last) * side_;
    float sum = 0.0F;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      const int column = taps_[j].first + k;
      sum += taps_[j].weights[k] * Dev::to_float(line[column < last ? column : last]);
    }
    return sum;
  }

  const Element* low_res_;
  MaskAxis rows_;
  int side_;
  ComposedTap taps_[2];
  int held_ = -2;  // no row is one below it
  float held_rows_[3][2] = {};
};

template <class Dev, class Element>
class MaskColumns<Dev, Element, MaskRounding::two_step> {
 public:
  LISA_DEVICE MaskColumns(const Element* low_res, const MaskAxis& rows, const MaskAxis& columns, const int (&x)[2])
      : low_res_(low_res), rows_(rows), side_(columns.low_res) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const LinearTap outer = columns.image_tap<Dev>(x[j]);
      weights_[j] = outer.weight;
      taps_[j][0] = columns.square_tap<Dev>(outer.first);
      taps_[j][1] = columns.square_tap<Dev>(outer.second);
    }
  }

  LISA_DEVICE void at_row(int y, float (&values)[2]) {
    const LinearTap tap = rows_.image_tap<Dev>(y);
    hold(tap);
#pragma unroll
    for (int j = 0; j < 2; ++j)
      values[j] = blend(blend(held_[0][j][0], held_[0][j][1], weights_[j]),
                        blend(held_[1][j][0], held_[1][j][1], weights_[j]), tap.weight);
  }

 private:
  /// Row `tap.first` of the square into held_[0], `tap.second` into held_[1].
  LISA_DEVICE void hold(const LinearTap& tap) {
    if (tap.first == held_row_[1]) {
#pragma unroll
      for (int j = 0; j < 2; ++j)
#pragma unroll
        for (int side = 0; side < 2; ++side) held_[0][j][side] = held_[1][j][side];
    } else if (tap.first != held_row_[0]) {
      load(tap.first, 0);
    }
    if (tap.second != held_row_[1]) load(tap.second, 1);
    held_row_[0] = tap.first;
    held_row_[1] = tap.second;
  }

  LISA_DEVICE void load(int square_row, int into) {
    const LinearTap row = rows_.square_tap<Dev>(square_row);
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        const LinearTap& column = taps_[j][side];
        held_[into][j][side] = blend(
            blend(low_res(row.first, column.first), low_res(row.first, column.second), column.weight),
            blend(low_res(row.second, column.first), low_res(row.second, column.second), column.weight), row.weight);
      }
  }

  LISA_DEVICE float low_res(int row, int column) const { return Dev::to_float(low_res_[row * side_ + column]); }

  static LISA_DEVICE float blend(float first, float second, float weight) {
    return Dev::rounded_sum(Dev::rounded_product(Dev::rounded_sum(1.0F, -weight), first),
                            Dev::rounded_product(weight, second));
  }

  const Element* low_res_;
  MaskAxis rows_;
  int side_;
  LinearTap taps_[2][2];
  float weights_[2];
  int held_row_[2] = {-1, -1};
  float held_[2][2][2] = {};
};

/// What one warp computes, from row `top` on. Ballots give the bits by rows, and each lane collects those of its
/// columns.
template <class Dev, class Element, MaskRounding rounding>
LISA_DEVICE void upsample_tile(const MaskUpsampleArguments<Element>& a, const BlockIndex& block, int top, int lane) {
  const int x[2] = {block.x * mask_tile_width + lane, block.x * mask_tile_width + 32 + lane};
  const int right = a.width - 1;
  const int sampled_x[2] = {x[0] < right ? x[0] : right, x[1] < right ? x[1] : right};

  MaskColumns<Dev, Element, rounding> columns(a.low_res + static_cast<std::int64_t>(block.z) * a.side * a.side,
                                              MaskAxis(a.side, a.image_side, a.resized_height, a.height),
                                              MaskAxis(a.side, a.image_side, a.resized_width, a.width), sampled_x);
  const std::int64_t mask_pixel = static_cast<std::int64_t>(block.z) * a.height * a.width;
  std::uint64_t row_word = 0;
  std::uint32_t column_words[2] = {0, 0};
  for (int i = 0; i < mask_tile_height; ++i) {
    const int y = top + i;
    if (y >= a.height) break;
    float values[2];
    columns.at_row(y, values);
    std::uint32_t votes[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const bool inside = x[j] < a.width, foreground = inside && values[j] > a.threshold;
      votes[j] = Dev::ballot(foreground);
      column_words[j] |= static_cast<std::uint32_t>(foreground) << i;
      if (a.logits != nullptr && inside)
        a.logits[mask_pixel + static_cast<std::int64_t>(y) * a.width + x[j]] = values[j];
    }
    if (i == lane) row_word = votes[0] | static_cast<std::uint64_t>(votes[1]) << 32;
  }
  if (a.row_bits != nullptr && top + lane < a.height) {
    const int row_words = ceil_div(a.width, mask_tile_width);
    a.row_bits[(static_cast<std::int64_t>(block.z) * a.height + top + lane) * row_words + block.x] = row_word;
  }
  if (a.column_bits != nullptr) {
    const std::int64_t words =
        static_cast<std::int64_t>(block.z) * ceil_div(a.height, mask_tile_height) + top / mask_tile_height;
#pragma unroll
    for (int j = 0; j < 2; ++j)
      if (x[j] < a.width) a.column_bits[words * a.width + x[j]] = column_words[j];
  }
}

/// The kernel. Each warp computes 64 x 32 pixels; low-res logits come through the cache, where they fit, and neither
/// interpolation's square exists anywhere. Where run lengths are wanted, the blocks that come last make them.
template <class Dev, class Element, MaskRounding rounding>
LISA_DEVICE void mask_upsample(const MaskUpsampleArguments<Element>& a) {
  const BlockIndex block = Dev::block_index();
  const int thread = Dev::thread_index();
  const int top = (block.y * mask_block_warps + thread / 32) * mask_tile_height;
  if (top < a.height) upsample_tile<Dev, Element, rounding>(a, block, top, thread % 32);
  if (a.run_lengths.counts != nullptr)
    mask_run_lengths<Dev>(a.run_lengths, a.column_bits, block.z, block.x, a.height, a.width);
}

}  // namespace lisa::cuda
