// torch-free
#include "lisa/cpu/mask_upsampling.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa::cpu;

namespace {

/// The kernels that this processor can run.
std::vector<std::pair<std::string, MaskRowKernels>> runnable() {
  std::vector<std::pair<std::string, MaskRowKernels>> found{{"portable", {stretch_portable, threshold_portable}}};
#if defined(__x86_64__)
  if (has_avx2()) found.emplace_back("avx2", MaskRowKernels{stretch_avx2, threshold_avx2});
  if (has_avx512()) found.emplace_back("avx512", MaskRowKernels{stretch_avx512, threshold_avx512});
#endif
  return found;
}

struct Sizes {
  std::int64_t side, square, part_height, part_width, height, width;
};

std::vector<float> random_samples(std::int64_t side, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values;
  for (std::int64_t i = 0; i < side * side; ++i) values.push_back(normal(random));
  return values;
}

/// Rows of a grid interpolated with half-pixel centres, in double precision.
std::vector<double> stretch_rows(const std::vector<double>& grid, std::int64_t rows, std::int64_t columns,
                                 std::int64_t out_rows) {
  std::vector<double> out(static_cast<std::size_t>(out_rows * columns));
  for (std::int64_t y = 0; y < out_rows; ++y) {
    const double centre =
        std::max(0.0, (static_cast<double>(y) + 0.5) * static_cast<double>(rows) / static_cast<double>(out_rows) - 0.5);
    const auto low = std::min(static_cast<std::int64_t>(centre), rows - 1), high = std::min(low + 1, rows - 1);
    const double weight = centre - static_cast<double>(low);
    for (std::int64_t x = 0; x < columns; ++x)
      out[static_cast<std::size_t>(y * columns + x)] =
          (1 - weight) * grid[static_cast<std::size_t>(low * columns + x)] +
          weight * grid[static_cast<std::size_t>(high * columns + x)];
  }
  return out;
}

std::vector<double> transposed(const std::vector<double>& grid, std::int64_t rows, std::int64_t columns) {
  std::vector<double> out(grid.size());
  for (std::int64_t y = 0; y < rows; ++y)
    for (std::int64_t x = 0; x < columns; ++x)
      out[static_cast<std::size_t>(x * rows + y)] = grid[static_cast<std::size_t>(y * columns + x)];
  return out;
}

std::vector<double> stretched(const std::vector<double>& grid, std::int64_t rows, std::int64_t columns,
                              std::int64_t out_rows, std::int64_t out_columns) {
  const auto tall = stretch_rows(grid, rows, columns, out_rows);
  return transposed(stretch_rows(transposed(tall, out_rows, columns), columns, out_rows, out_columns), out_columns,
                    out_rows);
}

/// Both interpolations and the crop, one after the other.
std::vector<double> logits_by_definition(const std::vector<float>& samples, const Sizes& s) {
  const auto square = stretched({samples.begin(), samples.end()}, s.side, s.side, s.square, s.square);
  std::vector<double> part;
  for (std::int64_t y = 0; y < s.part_height; ++y)
    for (std::int64_t x = 0; x < s.part_width; ++x) part.push_back(square[static_cast<std::size_t>(y * s.square + x)]);
  return stretched(part, s.part_height, s.part_width, s.height, s.width);
}

std::vector<std::uint64_t> bits_of(const MaskRowKernels& kernels, const std::vector<float>& samples, const Sizes& s,
                                   float threshold = 0) {
  const auto upsampling =
      MaskUpsampling::make(s.side, s.square, s.part_height, s.part_width, s.height, s.width).value();
  std::vector<std::uint64_t> out(static_cast<std::size_t>(s.height * upsampling.words_per_row()));
  upsampling.run(kernels, samples.data(), threshold, 0, s.height, out.data());
  return out;
}

bool bit(const std::vector<std::uint64_t>& bits, const Sizes& s, std::int64_t y, std::int64_t x) {
  return (bits[static_cast<std::size_t>(y * ((s.width + 63) / 64) + x / 64)] >> (x % 64) & 1) != 0;
}

const std::vector<Sizes> shapes{
    {16, 64, 64, 64, 64, 64},        // no change of size in the second interpolation
    {16, 64, 40, 64, 75, 120},       // a clipped, wide picture
    {16, 64, 64, 37, 401, 231},      // a clipped, tall one
    {16, 64, 64, 48, 13, 9},         // a picture smaller than the samples
    {6, 24, 5, 24, 3, 100},          // one of very few rows
    {6, 24, 1, 24, 1, 9},            // of one row
    {6, 24, 24, 1, 31, 1},           // of one column
    {9, 9, 7, 9, 20, 30},            // samples as fine as the square
    {1, 4, 4, 3, 5, 66},             // one sample
    {256, 1024, 576, 1024, 90, 160}  // SAM's samples, in a thumbnail
};

}  // namespace

TEST_CASE("bits are those of both interpolations in double precision, but for logits next to the threshold") {
  for (const auto& [name, kernels] : runnable()) {
    CAPTURE(name);
    for (const Sizes& s : shapes) {
      CAPTURE(s.height);
      CAPTURE(s.width);
      const auto samples = random_samples(s.side, 5);
      const auto logits = logits_by_definition(samples, s);
      for (const float threshold : {0.0F, -0.7F, 0.4F}) {
        CAPTURE(threshold);
        const auto bits = bits_of(kernels, samples, s, threshold);
        std::int64_t wrong = 0, unsure = 0, behind = 0;
        for (std::int64_t y = 0; y < s.height; ++y)
          for (std::int64_t x = 0; x < (s.width + 63) / 64 * 64; ++x) {
            if (x >= s.width) {
              behind += bit(bits, s, y, x) ? 1 : 0;
              continue;
            }
            const double distance = logits[static_cast<std::size_t>(y * s.width + x)] - double{threshold};
            // Positions are fp32, in ATen as here: at coordinate 1024 they are exact to 1e-4 of a sample.
            if (std::abs(distance) < 3e-4) ++unsure;
            if (std::abs(distance) >= 3e-4 && bit(bits, s, y, x) != (distance > 0)) ++wrong;
          }
        CHECK(wrong == 0);
        CHECK(behind == 0);
        CHECK(unsure <= 1 + s.height * s.width / 100);
      }
    }
  }
}

TEST_CASE("NaN is background wherever an interpolation reads it, and nowhere else") {
  // Scales are powers of 2, so that positions are exact. All other samples are far above the threshold.
  const Sizes s{16, 64, 64, 48, 128, 96};
  for (const auto& [name, kernels] : runnable()) {
    CAPTURE(name);
    for (const std::size_t at : {std::size_t{0}, std::size_t{5 * 16 + 7}, std::size_t{15 * 16 + 11}}) {
      std::vector<float> samples(256, 3.0F);
      samples[at] = std::numeric_limits<float>::quiet_NaN();
      const auto logits = logits_by_definition(samples, s);
      const auto bits = bits_of(kernels, samples, s);
      std::int64_t different = 0, background = 0;
      for (std::int64_t y = 0; y < s.height; ++y)
        for (std::int64_t x = 0; x < s.width; ++x) {
          const bool on = bit(bits, s, y, x);
          different += on != (logits[static_cast<std::size_t>(y * s.width + x)] > 0) ? 1 : 0;
          background += on ? 0 : 1;
        }
      CHECK(different == 0);
      CHECK(background > 0);
    }
  }
}

TEST_CASE("denormal samples keep their sign") {
  const Sizes s{4, 16, 16, 16, 16, 16};
  for (const auto& [name, kernels] : runnable()) {
    CAPTURE(name);
    const std::vector<float> tiny(16, std::numeric_limits<float>::min() / 4);
    const auto bits = bits_of(kernels, tiny, s);
    CHECK(std::all_of(bits.begin(), bits.end(), [](std::uint64_t word) { return word == 0xffff; }));
  }
}

TEST_CASE("rows can be computed in any portions") {
  const Sizes s{16, 64, 40, 64, 75, 120};
  const auto samples = random_samples(s.side, 6);
  const auto upsampling =
      MaskUpsampling::make(s.side, s.square, s.part_height, s.part_width, s.height, s.width).value();
  for (const auto& [name, kernels] : runnable()) {
    CAPTURE(name);
    const auto whole = bits_of(kernels, samples, s);
    std::vector<std::uint64_t> pieces(whole.size());
    for (const auto& [begin, end] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{50, 75}, {0, 1}, {7, 7}, {1, 50}})
      upsampling.run(kernels, samples.data(), 0, begin, end, pieces.data() + begin * upsampling.words_per_row());
    CHECK(whole == pieces);
  }
}

TEST_CASE("a square coarser than the samples, where one value may need more of them, is left to others") {
  CHECK_FALSE(MaskUpsampling::make(64, 16, 16, 16, 30, 30).has_value());
  CHECK(MaskUpsampling::make(16, 16, 16, 16, 30, 30).has_value());
}
