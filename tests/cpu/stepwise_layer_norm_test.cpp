// torch-free
#include "lisa/cpu/stepwise_layer_norm.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa::cpu;

namespace {

/// Multiples of 1/64 up to 4: their sums are exact in fp32, so that every order of adding gives the same bits.
std::vector<Bf16Bits> exact_values(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> steps(-255, 255);
  std::vector<Bf16Bits> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(to_bf16(static_cast<float>(steps(random)) / 64));
  return values;
}

std::vector<Bf16Bits> normalised(StepwiseLayerNormKernel kernel, const std::vector<Bf16Bits>& x, std::int64_t width,
                                 std::int64_t begin, std::int64_t end) {
  const auto weight = exact_values(width, 2), bias = exact_values(width, 3);
  std::vector<Bf16Bits> y(x.size());
  kernel({x.data(), weight.data(), bias.data(), y.data(), width, 1e-6F}, begin, end);
  return y;
}

}  // namespace

TEST_CASE("the portable normalisation is within bf16's roundings of the one in double precision") {
  const std::int64_t rows = 20, width = 48;
  const auto x = exact_values(rows * width, 1), weight = exact_values(width, 2), bias = exact_values(width, 3);
  const auto y = normalised(stepwise_layer_norm_portable, x, width, 0, rows);
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto value = [&](std::int64_t i) { return double{to_float(x[static_cast<std::size_t>(row * width + i)])}; };
    double mean = 0, variance = 0;
    for (std::int64_t i = 0; i < width; ++i) mean += value(i) / static_cast<double>(width);
    for (std::int64_t i = 0; i < width; ++i) variance += std::pow(value(i) - mean, 2) / static_cast<double>(width);
    for (std::int64_t i = 0; i < width; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double scaled = (value(i) - mean) / std::sqrt(variance + 1e-6) * to_float(weight[at]);
      const double expected = scaled + to_float(bias[at]);
      // Eight roundings of 2^-9 each, in the product and once more in the sum.
      CHECK(std::abs(to_float(y[static_cast<std::size_t>(row * width + i)]) - expected) <=
            8.0 / 512 * (std::abs(scaled) + 4) + std::abs(expected) / 512);
    }
  }
}

TEST_CASE("every normalisation rounds where the portable one does, row by row and in place") {
  for (const std::int64_t width : {16, 32, 48, 64, 256, 272}) {
    CAPTURE(width);
    const StepwiseLayerNormKernel kernel = find_stepwise_layer_norm(width);
    if (kernel == nullptr) continue;
    const std::int64_t rows = 37;
    auto x = exact_values(rows * width, 1);
    x[5] = to_bf16(1e20F);
    const auto expected = normalised(stepwise_layer_norm_portable, x, width, 0, rows);
    CHECK(normalised(kernel, x, width, 0, rows) == expected);
    auto pieces = normalised(kernel, x, width, 0, 11);
    const auto rest = normalised(kernel, x, width, 11, rows);
    for (std::size_t i = 0; i < pieces.size(); ++i)
      if (static_cast<std::int64_t>(i) >= 11 * width) {
        CHECK(pieces[i] == 0);
        pieces[i] = rest[i];
      }
    CHECK(pieces == expected);
    const auto weight = exact_values(width, 2), bias = exact_values(width, 3);
    kernel({x.data(), weight.data(), bias.data(), x.data(), width, 1e-6F}, 0, rows);
    CHECK(x == expected);
  }
}

TEST_CASE("NaN stays in its row, and a row of equal values is the bias") {
  const std::int64_t width = 64;
  const StepwiseLayerNormKernel kernel = find_stepwise_layer_norm(width);
  if (kernel == nullptr) return;
  std::vector<Bf16Bits> x = exact_values(3 * width, 1);
  x[static_cast<std::size_t>(width + 3)] = to_bf16(std::numeric_limits<float>::quiet_NaN());
  for (std::int64_t i = 0; i < width; ++i) x[static_cast<std::size_t>(2 * width + i)] = to_bf16(2.5F);
  const auto y = normalised(kernel, x, width, 0, 3), bias = exact_values(width, 3);
  for (std::int64_t i = 0; i < width; ++i) {
    CHECK(!std::isnan(to_float(y[static_cast<std::size_t>(i)])));
    CHECK(std::isnan(to_float(y[static_cast<std::size_t>(width + i)])));
    CHECK(to_float(y[static_cast<std::size_t>(2 * width + i)]) == to_float(bias[static_cast<std::size_t>(i)]));
  }
}

TEST_CASE("rows of other widths are left to single operators") { CHECK((find_stepwise_layer_norm(50) == nullptr)); }
