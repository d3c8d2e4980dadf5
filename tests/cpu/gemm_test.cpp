// torch-free
#include "lisa/cpu/gemm.hpp"

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

template <class Element>
std::vector<Element> random_values(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<Element> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(rounded_to<Element>(normal(random)));
  return values;
}

/// The kernels that this processor can run.
template <class Element>
std::vector<std::pair<std::string, GemmKernel<Element>>> runnable() {
  std::vector<std::pair<std::string, GemmKernel<Element>>> found;
#if defined(__x86_64__)
  if (has_avx512_bf16()) found.emplace_back("avx512", gemm_avx512<Element>);
#endif
  return found;
}

/// What an element holds before it is computed.
template <class Element>
const Element untouched = rounded_to<Element>(1e30F);

/// A product in allocations that are exactly as long as its operands: the sanitized build reports an element too many.
template <class Element>
struct Problem {
  Problem(std::int64_t rows, std::int64_t inner, std::int64_t columns, bool biased)
      : x(random_values<Element>(rows * inner, 1)),
        weight(random_values<Element>(columns * inner, 2)),
        bias(random_values<Element>(biased ? columns : 0, 3)),
        y(static_cast<std::size_t>(rows * columns), untouched<Element>),
        product{x.data(), weight.data(), biased ? bias.data() : nullptr, y.data(), rows, inner, columns} {}
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  [[nodiscard]] float found(std::int64_t row, std::int64_t column) const {
    return to_float(y[static_cast<std::size_t>(row * product.columns + column)]);
  }

  std::vector<Element> x, weight, bias, y;
  MatrixProduct<Element> product;
};

/// Whether every element is the sum in double precision, but for the roundings of fp32 sums and of the result.
template <class Element>
bool is_right(const Problem<Element>& problem) {
  const MatrixProduct<Element>& p = problem.product;
  constexpr double rounding = sizeof(Element) == 2 ? 1.0 / 256 : 0;
  const auto value = [](const std::vector<Element>& of, std::int64_t at) {
    return double{to_float(of[static_cast<std::size_t>(at)])};
  };
  for (std::int64_t row = 0; row < p.rows; ++row)
    for (std::int64_t column = 0; column < p.columns; ++column) {
      double sum = problem.bias.empty() ? 0 : value(problem.bias, column), magnitude = std::abs(sum);
      for (std::int64_t i = 0; i < p.inner; ++i) {
        const double term = value(problem.x, row * p.inner + i) * value(problem.weight, column * p.inner + i);
        sum += term;
        magnitude += std::abs(term);
      }
      const double allowed = std::abs(sum) * rounding + magnitude * static_cast<double>(p.inner) * 6e-8;
      if (!(std::abs(problem.found(row, column) - sum) <= allowed)) return false;
    }
  return true;
}

}  // namespace

TEST_CASE_TEMPLATE("every matrix product equals the sums in double precision, at awkward sizes", Element, Bf16Bits,
                   float) {
  for (const auto& [name, kernel] : runnable<Element>()) {
    CAPTURE(name);
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 11, 13, 18})
      for (const std::int64_t inner : {1, 2, 6, 15, 30, 32, 33, 64, 98, 510, 513, 1022, 1024, 1026, 2050})
        for (const std::int64_t columns : {1, 15, 16, 17, 63, 64, 65, 130}) {
          if (!gemm_takes<Element>(inner)) continue;
          CAPTURE(rows);
          CAPTURE(inner);
          CAPTURE(columns);
          Problem<Element> problem(rows, inner, columns, (rows + columns) % 2 == 0);
          kernel(problem.product, {0, rows, 0, columns});
          CHECK(is_right(problem));
        }
  }
}

TEST_CASE_TEMPLATE("more rows than are computed in turn", Element, Bf16Bits, float) {
  for (const auto& [name, kernel] : runnable<Element>())
    for (const std::int64_t inner : {6, 1030}) {
      CAPTURE(name);
      CAPTURE(inner);
      Problem<Element> problem(775, inner, 70, true);
      kernel(problem.product, {0, 775, 0, 70});
      CHECK(is_right(problem));
    }
}

TEST_CASE_TEMPLATE("parts of a matrix product can be computed in any order, and nothing outside of them is written",
                   Element, Bf16Bits, float) {
  const std::int64_t rows = 23, inner = 1100, columns = 150;
  for (const auto& [name, kernel] : runnable<Element>()) {
    CAPTURE(name);
    Problem<Element> whole(rows, inner, columns, true), pieces(rows, inner, columns, true);
    kernel(whole.product, {0, rows, 0, columns});
    for (const GemmPart& part : {GemmPart{7, 23, 64, 150}, {0, 7, 0, 64}, {0, 7, 64, 150}, {7, 9, 0, 64}}) {
      kernel(pieces.product, part);
    }
    kernel(pieces.product, {9, 9, 0, 64});
    kernel(pieces.product, {9, 12, 64, 64});
    CHECK(pieces.found(9, 0) == to_float(untouched<Element>));
    CHECK(pieces.found(22, 63) == to_float(untouched<Element>));
    kernel(pieces.product, {9, 23, 0, 64});
    CHECK(pieces.y == whole.y);
  }
}

TEST_CASE_TEMPLATE("NaN and infinities in a matrix product stay in their rows and columns", Element, Bf16Bits, float) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const auto& [name, kernel] : runnable<Element>()) {
    CAPTURE(name);
    Problem<Element> problem(8, 64, 20, false);
    problem.x[3 * 64 + 5] = rounded_to<Element>(nan);
    problem.weight[7 * 64 + 2] = rounded_to<Element>(infinity);
    kernel(problem.product, {0, 8, 0, 20});
    for (std::int64_t row = 0; row < 8; ++row)
      for (std::int64_t column = 0; column < 20; ++column) {
        CAPTURE(row);
        CAPTURE(column);
        CHECK(std::isnan(problem.found(row, column)) == (row == 3));
        if (row != 3) CHECK(std::isinf(problem.found(row, column)) == (column == 7));
      }
  }
}

TEST_CASE("kernels of matrix products take inputs of 32 bits together") {
  CHECK(gemm_takes<Bf16Bits>(2));
  CHECK(gemm_takes<Bf16Bits>(4096));
  CHECK(gemm_takes<float>(7));
  CHECK(!gemm_takes<Bf16Bits>(0));
  CHECK(!gemm_takes<Bf16Bits>(7));
  CHECK(!gemm_takes<float>(0));
}
