#pragma once

#include <cstdint>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/element.hpp"
#include "lisa/cuda/element_vector.cuh"
#include "lisa/cuda/launch_geometry.hpp"

// A picture becomes what an image encoder takes: resized along x, then along y, each rounded to bytes as Pillow rounds
// them, then normalised, rounded to the encoder's type and padded with zeros. SAM's and CLIP's preprocessing differ in
// the tables that the host computes.

namespace lisa::cuda {

/// The inputs and fixed-point weights of each output along one axis, in memory of the device: lisa::resize_detail::Taps
/// of all outputs, or of those of a region.
struct ResizeTaps {
  const int* first;             // [outputs]: the first input
  const int* count;             // [outputs]: how many inputs
  const std::int32_t* weights;  // [outputs, stride], in units of 2^-22
  int stride;                   // at least the largest count
};

/// Each row of a picture resized to `columns` pixels.
struct ResizeColumnsArguments {
  const std::uint8_t* image;  // [rows, width, 3] by the stride: the first row that is wanted
  std::int64_t row_stride;    // bytes
  ResizeTaps taps;            // of the columns
  std::uint8_t* out;          // [rows, columns, 3]
  int rows, columns;
};

/// Resizes a picture along y and normalises it into planes, in their upper left corner, with zeros elsewhere.
/// @tparam Element float, Bf16 or Fp16
template <class Element>
struct ImagePlanesArguments {
  const std::uint8_t* image;  // [rows, width, 3] by the stride: all rows that the taps name, from `first_row` on
  std::int64_t row_stride;    // bytes
  ResizeTaps taps;            // of the rows, [height]; those of an unchanged height leave every byte as it is
  int first_row;
  const float* levels;    // [3, 256]: the normalised value of each byte (lisa::LevelTable)
  std::uint8_t* resized;  // [height, width, 3]: the 8-bit stage, or nullptr
  Element* planes;        // [3, side, side]
  int height, width, side;
};

inline constexpr int largest_picture_side = 65535;

/// Why the kernel can't do this, in words; nullptr where it can.
[[nodiscard]] constexpr const char* resize_columns_refusal(const ResizeColumnsArguments& a) {
  if (a.rows < 1 || a.rows > largest_picture_side || a.columns < 1 || a.columns > largest_picture_side)
    return "resize_columns: the result must have 1 to 65535 pixels per side";
  if (a.taps.stride < 1) return "resize_columns: each output must have room for a weight";
  return nullptr;
}

template <class Element>
[[nodiscard]] constexpr const char* image_planes_refusal(const ImagePlanesArguments<Element>& a) {
  if (a.side < 1 || a.side > 16384) return "image_planes: the planes must have 1 to 16384 pixels per side";
  if (a.height < 1 || a.height > a.side || a.width < 1 || a.width > a.side)
    return "image_planes: the picture must have at least one pixel and lie inside the planes";
  if (a.row_stride < 3 * static_cast<std::int64_t>(a.width)) return "image_planes: rows of pixels must not overlap";
  if (a.taps.stride < 1) return "image_planes: each output must have room for a weight";
  return nullptr;
}

/// Threads of a block of both kernels: neighbouring columns.
inline constexpr int picture_threads = 128;
/// Rows that a thread of `resize_columns` resizes together, which share their weights.
inline constexpr int resize_rows = 4;

/// Launches of the two kernels.
[[nodiscard]] constexpr LaunchGeometry resize_columns_geometry(const ResizeColumnsArguments& a) {
  return {{ceil_div(a.columns, picture_threads), ceil_div(a.rows, resize_rows), 1}, picture_threads, 0};
}
template <class Element>
[[nodiscard]] constexpr LaunchGeometry image_planes_geometry(const ImagePlanesArguments<Element>& a) {
  return {{ceil_div(a.side, picture_threads), a.side, 1}, picture_threads, 0};
}

/// A pixel's three weighted sums on their way to bytes.
struct PixelSums {
  static constexpr int precision_bits = 22;

  std::int32_t of_channel[3] = {1 << (precision_bits - 1), 1 << (precision_bits - 1), 1 << (precision_bits - 1)};

  LISA_DEVICE void add(const std::uint8_t* pixel, std::int32_t weight) {
#pragma unroll
    for (int c = 0; c < 3; ++c) of_channel[c] += pixel[c] * weight;
  }
  LISA_DEVICE std::uint8_t byte(int c) const {
    const std::int32_t level = of_channel[c] >> precision_bits;
    return static_cast<std::uint8_t>(level < 0 ? 0 : level > 255 ? 255 : level);
  }
};

/// The first kernel: a thread has one column of a few rows.
template <class Dev>
LISA_DEVICE void resize_columns(const ResizeColumnsArguments& a) {
  const int x = Dev::block_index().x * picture_threads + Dev::thread_index();
  const int top = Dev::block_index().y * resize_rows;
  if (x >= a.columns) return;
  const std::uint8_t* lines[resize_rows];
  PixelSums sums[resize_rows];
#pragma unroll
  for (int r = 0; r < resize_rows; ++r) {
    const int row = top + r < a.rows ? top + r : a.rows - 1;  // below the picture its last row again, for nobody
    lines[r] = a.image + row * a.row_stride + static_cast<std::int64_t>(a.taps.first[x]) * 3;
  }
  const std::int32_t* const weights = a.taps.weights + static_cast<std::int64_t>(x) * a.taps.stride;
  const int count = a.taps.count[x];
  for (int i = 0; i < count; ++i) {
    const std::int32_t weight = weights[i];
#pragma unroll
    for (int r = 0; r < resize_rows; ++r) sums[r].add(lines[r] + static_cast<std::int64_t>(i) * 3, weight);
  }
#pragma unroll
  for (int r = 0; r < resize_rows; ++r)
    if (top + r < a.rows) {
      std::uint8_t* const out = a.out + (static_cast<std::int64_t>(top + r) * a.columns + x) * 3;
#pragma unroll
      for (int c = 0; c < 3; ++c) out[c] = sums[r].byte(c);
    }
}

/// The second kernel: a thread has one pixel of the planes.
template <class Dev, class Element>
LISA_DEVICE void image_planes(const ImagePlanesArguments<Element>& a) {
  const int x = Dev::block_index().x * picture_threads + Dev::thread_index(), y = Dev::block_index().y;
  if (x >= a.side) return;
  float values[3] = {0.0F, 0.0F, 0.0F};
  if (x < a.width && y < a.height) {
    PixelSums sums;
    const std::uint8_t* pixel =
        a.image + (a.taps.first[y] - a.first_row) * a.row_stride + static_cast<std::int64_t>(x) * 3;
    const std::int32_t* const weights = a.taps.weights + static_cast<std::int64_t>(y) * a.taps.stride;
    const int count = a.taps.count[y];
    for (int i = 0; i < count; ++i, pixel += a.row_stride) sums.add(pixel, weights[i]);
#pragma unroll
    for (int c = 0; c < 3; ++c) {
      const std::uint8_t level = sums.byte(c);
      values[c] = a.levels[c * 256 + level];
      if (a.resized != nullptr) a.resized[(static_cast<std::int64_t>(y) * a.width + x) * 3 + c] = level;
    }
  }
#pragma unroll
  for (int c = 0; c < 3; ++c)
    a.planes[(static_cast<std::int64_t>(c) * a.side + y) * a.side + x] = to_element<Dev, Element>(values[c]);
}

}  // namespace lisa::cuda
