#pragma once

#include <cmath>
#include <cstdint>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/element.hpp"
#include "lisa/cuda/element_vector.cuh"
#include "lisa/cuda/launch_geometry.hpp"

namespace lisa::cuda {

/// Root-mean-square normalisation of rows, with the addition of a residual in front where one is given. Rounded as
/// lisa::RmsNorm does it: the sum x + added to Element, the normalised value to Element, its product with the weight to
/// Element; the statistics are fp32. `sum` and `out` may be the memory of `x` or `added`, and of each other: a thread
/// writes only what it has read.
/// @tparam Element Bf16 or Fp16
template <class Element>
struct RmsNormArguments {
  const Element* x;       // [rows, width], contiguous, as all of them
  const Element* added;   // [rows, width], or nullptr
  const Element* weight;  // [width]
  Element* sum;           // [rows, width]: x + added; not written without `added`
  Element* out;           // [rows, width]
  float eps;              // at least 0
  int rows, width;
};

/// Why the kernel can't do this, in words; nullptr where it can. `rows` may be 0.
template <class Element>
[[nodiscard]] constexpr const char* rms_norm_refusal(const RmsNormArguments<Element>& a) {
  if (a.rows < 0) return "rms_norm: the number of rows must not be negative";
  if (a.width < 1 || a.width > 65536) return "rms_norm: rows must have 1 to 65536 elements";
  if (!(a.eps >= 0.0F)) return "rms_norm: eps must be at least 0";
  if (a.added != nullptr && a.sum == nullptr) return "rms_norm: the sum with what is added needs a place";
  return nullptr;
}

/// Elements that a thread takes at a time: a vector where all rows start at multiples of 16 bytes, else one.
template <class Element>
[[nodiscard]] inline int rms_norm_chunk(const RmsNormArguments<Element>& a) {
  const Element* const rows[] = {a.x, a.added, a.weight, a.out};
  for (const Element* const begin : rows)
    if (!rows_aligned(begin, a.width)) return 1;
  return a.added == nullptr || rows_aligned(a.sum, a.width) ? vector_elements : 1;
}

/// Threads of the one block that each row gets.
[[nodiscard]] LISA_HOST_DEVICE constexpr int rms_norm_threads(int width, int chunk) {
  const int warps = ceil_div(width, 32 * chunk);
  return 32 * (warps < 16 ? warps : 16);
}

/// Launch of `rms_norm`.
template <class Element>
[[nodiscard]] inline LaunchGeometry rms_norm_geometry(const RmsNormArguments<Element>& a) {
  const int threads = rms_norm_threads(a.width, rms_norm_chunk(a));
  return {{a.rows, 1, 1}, threads, threads / 32 * static_cast<int>(sizeof(float))};
}

/// The sum over the threads of a block, the same in each. To be called once: it uses the block's shared memory, a float
/// for each warp.
template <class Dev>
LISA_DEVICE float block_sum(float value, int warps) {
  auto* const warp_sums = reinterpret_cast<float*>(Dev::shared_memory());
  value = warp_sum<Dev>(value);
  if (Dev::thread_index() % 32 == 0) warp_sums[Dev::thread_index() / 32] = value;
  Dev::barrier();
  float total = 0.0F;
  for (int warp = 0; warp < warps; ++warp) total += warp_sums[warp];
  return total;
}

/// The kernel: one block per row, which reads the row for its sum of squares and once more, from the cache, to scale
/// it.
template <class Dev, class Element, int chunk>
LISA_DEVICE void rms_norm(const RmsNormArguments<Element>& a) {
  const int threads = rms_norm_threads(a.width, chunk), begin = Dev::thread_index() * chunk, step = threads * chunk;
  const std::int64_t row = static_cast<std::int64_t>(Dev::block_index().x) * a.width;
  const Element* const normalised = (a.added == nullptr ? a.x : a.sum) + row;

  float squares = 0.0F;
  for (int i = begin; i < a.width; i += step) {
    float values[chunk];
    load_elements<Dev>(a.x + row + i, values);
    if (a.added != nullptr) {
      float added[chunk];
      load_elements<Dev>(a.added + row + i, added);
#pragma unroll
      for (int k = 0; k < chunk; ++k) values[k] = rounded_to<Dev, Element>(values[k] + added[k]);
      store_elements<Dev>(a.sum + row + i, values);
    }
#pragma unroll
    for (int k = 0; k < chunk; ++k) squares += values[k] * values[k];
  }
  const float mean = block_sum<Dev>(squares, threads / 32) / static_cast<float>(a.width);
  const float scale = 1.0F / sqrtf(mean + a.eps);
  for (int i = begin; i < a.width; i += step) {
    float values[chunk], weights[chunk];
    load_elements<Dev>(normalised + i, values);
    load_elements<Dev>(a.weight + i, weights);
#pragma unroll
    for (int k = 0; k < chunk; ++k) values[k] = rounded_to<Dev, Element>(values[k] * scale) * weights[k];
    store_elements<Dev>(a.out + row + i, values);
  }
}

}  // namespace lisa::cuda
