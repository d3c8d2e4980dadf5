#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "lisa/quant/quantised_matrix.hpp"

namespace lisa::test {

inline std::vector<float> random_values(std::int64_t n, unsigned seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(normal(random));
  return values;
}

inline const std::vector<WeightFormat> weight_formats{WeightFormat::int8_row, WeightFormat::int4_group32,
                                                      WeightFormat::nf4_group64, WeightFormat::int4_group128};
inline const std::vector<WeightFormat> integer_formats{WeightFormat::int8_row, WeightFormat::int4_group32,
                                                       WeightFormat::int4_group128};

/// Lengths of rows: whole vectors, groups and blocks, and all kinds of remainders.
inline std::vector<std::int64_t> row_lengths(WeightFormat format) {
  std::vector<std::int64_t> lengths;
  for (const std::int64_t in : {1,   3,   4,   31,  32,  33,  63,  64,  65,  96,  127, 128,  129, 160,
                                200, 255, 256, 257, 344, 480, 511, 512, 513, 544, 640, 1000, 1376})
    if (fits(format, in)) lengths.push_back(in);
  return lengths;
}

/// A quantised matrix of random weights, in an allocation of exactly its size, at an odd address where it is asked for.
struct Matrix {
  Matrix(WeightFormat format, std::int64_t out, std::int64_t in, std::size_t misplaced = 0)
      : weights(random_values(out * in, 7, 0.02F)),
        bytes(misplaced + static_cast<std::size_t>(out * row_bytes(format, in))),
        view{format, out, in, bytes.data() + misplaced} {
    quantise_rows(format, out, in, weights.data(), 0, out, bytes.data() + misplaced);
  }

  [[nodiscard]] float weight(std::int64_t row, std::int64_t input) const {
    return weights[static_cast<std::size_t>(row * view.in + input)];
  }

  std::vector<float> weights;
  std::vector<std::byte> bytes;
  QuantisedMatrix view;
};

}  // namespace lisa::test
