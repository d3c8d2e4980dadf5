#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/matrix_product.hpp"

namespace lisa::cpu {

template <class Element>
[[nodiscard]] std::vector<Element> random_values(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<Element> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(rounded_to<Element>(normal(random)));
  return values;
}

/// What an element holds before it is computed.
template <class Element>
inline const Element untouched = rounded_to<Element>(1e30F);

/// A product in allocations that are exactly as long as its operands: the sanitized build reports an element too many.
template <class Element>
struct RandomProduct {
  RandomProduct(std::int64_t rows, std::int64_t inner, std::int64_t columns, bool biased)
      : x(random_values<Element>(rows * inner, 1)),
        weight(random_values<Element>(columns * inner, 2)),
        bias(random_values<Element>(biased ? columns : 0, 3)),
        y(static_cast<std::size_t>(rows * columns), untouched<Element>),
        product{x.data(), weight.data(), biased ? bias.data() : nullptr, y.data(), rows, inner, columns} {}
  RandomProduct(const RandomProduct&) = delete;
  RandomProduct& operator=(const RandomProduct&) = delete;

  [[nodiscard]] float found(std::int64_t row, std::int64_t column) const {
    return to_float(y[static_cast<std::size_t>(row * product.columns + column)]);
  }

  std::vector<Element> x, weight, bias, y;
  MatrixProduct<Element> product;
};

/// Whether every element is the sum in double precision, but for the roundings of fp32 sums and of the result.
template <class Element>
[[nodiscard]] bool is_right(const RandomProduct<Element>& given) {
  const MatrixProduct<Element>& p = given.product;
  constexpr double rounding = sizeof(Element) == 2 ? 1.0 / 256 : 0;
  const auto value = [](const std::vector<Element>& of, std::int64_t at) {
    return double{to_float(of[static_cast<std::size_t>(at)])};
  };
  for (std::int64_t row = 0; row < p.rows; ++row)
    for (std::int64_t column = 0; column < p.columns; ++column) {
      double sum = given.bias.empty() ? 0 : value(given.bias, column), magnitude = std::abs(sum);
      for (std::int64_t i = 0; i < p.inner; ++i) {
        const double term = value(given.x, row * p.inner + i) * value(given.weight, column * p.inner + i);
        sum += term;
        magnitude += std::abs(term);
      }
      const double allowed = std::abs(sum) * rounding + magnitude * static_cast<double>(p.inner) * 6e-8;
      if (!(std::abs(given.found(row, column) - sum) <= allowed)) return false;
    }
  return true;
}

}  // namespace lisa::cpu
