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
