#include "warpgroup_semantics.hpp"

#include "tensor_map.hpp"

namespace simt {

using lisa::cuda::Major;
using lisa::cuda::Swizzle;

namespace {

constexpr int unit = 8;  // elements in 16 bytes
constexpr int unit_bytes = 16;

/// 14 bits of a descriptor, in bytes.
std::uint32_t field(std::uint64_t descriptor, int first_bit) {
  return static_cast<std::uint32_t>(descriptor >> first_bit & 0x3FFF) << 4;
}

Swizzle swizzle_of(std::uint64_t descriptor) {
  constexpr Swizzle swizzles[] = {Swizzle::none, Swizzle::bytes128, Swizzle::bytes64, Swizzle::bytes32};
  return swizzles[descriptor >> 62];
}

}  // namespace

std::uint32_t element_place(std::uint64_t descriptor, Major major, int own, int k) {
  const std::uint32_t start = field(descriptor, 0), leading = field(descriptor, 16), stride = field(descriptor, 32);
  const Swizzle swizzle = swizzle_of(descriptor);
  const auto at = [](int index, std::uint32_t step) { return static_cast<std::uint32_t>(index) * step; };
  if (swizzle == Swizzle::none) {  // 8 x 8 elements without gaps, and a distance for each dimension
    return start + at(own / unit, stride) + at(k / unit, leading) +
           at(major == Major::k ? own % unit : k % unit, unit_bytes);
  }
  const auto row_bytes = static_cast<int>(swizzle);
  const int row_elements = row_bytes / 2;
  const std::uint32_t offset =
      major == Major::k ? at(own % unit, static_cast<std::uint32_t>(row_bytes)) + at(own / unit, stride) + at(k, 2)
                        : at(own % row_elements, 2) + at(own / row_elements, leading) +
                              at(k % unit, static_cast<std::uint32_t>(row_bytes)) + at(k / unit, stride);
  return swizzled(start + offset, swizzle);
}

FragmentPlace sum_place(int lane, int i) {
  const int warp = lane / 32, quad = lane % 32 / 4, pair = lane % 4;
  return {warp * 16 + quad + i / 2 % 2 * 8, i / 4 * 8 + pair * 2 + i % 2};
}

FragmentPlace left_place(int lane, int i) { return sum_place(lane, i); }

void multiply_accumulate(float* sums, const float* left, const float* right, int columns) {
  for (int row = 0; row < product_rows; ++row)
    for (int k = 0; k < product_depth; ++k) {
      const float factor = left[row * product_depth + k];
      for (int column = 0; column < columns; ++column)
        sums[row * columns + column] += factor * right[k * columns + column];
    }
}

}  // namespace simt
