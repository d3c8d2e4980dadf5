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

std::vector<Bf16Bits> random_values(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<Bf16Bits> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(to_bf16(normal(random)));
  return values;
}

/// The kernels that this processor can run.
std::vector<std::pair<std::string, Bf16GemmKernel>> runnable() {
  std::vector<std::pair<std::string, Bf16GemmKernel>> found;
#if defined(__x86_64__)
  if (has_avx512_bf16()) found.emplace_back("avx512_bf16", bf16_gemm_avx512);
#endif
  return found;
}

/// A product in allocations that are exactly as long as its operands: the sanitized build reports an element too many.
struct Problem {
  Problem(std::int64_t rows, std::int64_t inner, std::int64_t columns, bool biased)
      : x(random_values(rows * inner, 1)),
        weight(random_values(columns * inner, 2)),
        bias(random_values(biased ? columns : 0, 3)),
        y(static_cast<std::size_t>(rows * columns), to_bf16(1e30F)),
        product{x.data(), weight.data(), biased ? bias.data() : nullptr, y.data(), rows, inner, columns} {}
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  [[nodiscard]] float found(std::int64_t row, std::int64_t column) const {
    return to_float(y[static_cast<std::size_t>(row * product.columns + column)]);
  }

  std::vector<Bf16Bits> x, weight, bias, y;
  Bf16Product product;
};

/// Whether every element is the sum in double precision, but for the roundings of fp32 sums and of the result.
bool is_right(const Problem& problem) {
  const Bf16Product& p = problem.product;
  const auto value = [](const std::vector<Bf16Bits>& of, std::int64_t at) {
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
      const double allowed = std::abs(sum) / 256 + magnitude * static_cast<double>(p.inner) * 6e-8;
      if (!(std::abs(problem.found(row, column) - sum) <= allowed)) return false;
    }
  return true;
}

}  // namespace

TEST_CASE("every matrix product equals the sums in double precision, at awkward sizes") {
  for (const auto& [name, kernel] : runnable()) {
    CAPTURE(name);
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 11, 13, 18})
      for (const std::int64_t inner : {2, 6, 30, 32, 34, 64, 98, 1022, 1024, 1026, 2050})
        for (const std::int64_t columns : {1, 15, 16, 17, 63, 64, 65, 130}) {
          CAPTURE(rows);
          CAPTURE(inner);
          CAPTURE(columns);
          Problem problem(rows, inner, columns, (rows + columns) % 2 == 0);
          kernel(problem.product, {0, rows, 0, columns});
          CHECK(is_right(problem));
        }
  }
}

TEST_CASE("more rows than are computed in turn") {
  for (const auto& [name, kernel] : runnable())
    for (const std::int64_t inner : {6, 1030}) {
      CAPTURE(name);
      CAPTURE(inner);
      Problem problem(775, inner, 70, true);
      kernel(problem.product, {0, 775, 0, 70});
      CHECK(is_right(problem));
    }
}

TEST_CASE("parts of a matrix product can be computed in any order, and nothing outside of them is written") {
  const std::int64_t rows = 23, inner = 1100, columns = 150;
  for (const auto& [name, kernel] : runnable()) {
    CAPTURE(name);
    Problem whole(rows, inner, columns, true), pieces(rows, inner, columns, true);
    kernel(whole.product, {0, rows, 0, columns});
    for (const GemmPart& part : {GemmPart{7, 23, 64, 150}, {0, 7, 0, 64}, {0, 7, 64, 150}, {7, 9, 0, 64}}) {
      kernel(pieces.product, part);
    }
    kernel(pieces.product, {9, 9, 0, 64});
    kernel(pieces.product, {9, 12, 64, 64});
    CHECK(pieces.found(9, 0) == to_float(to_bf16(1e30F)));
    CHECK(pieces.found(22, 63) == to_float(to_bf16(1e30F)));
    kernel(pieces.product, {9, 23, 0, 64});
    CHECK(pieces.y == whole.y);
  }
}

TEST_CASE("NaN and infinities in a matrix product stay in their rows and columns") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const auto& [name, kernel] : runnable()) {
    CAPTURE(name);
    Problem problem(8, 64, 20, false);
    problem.x[3 * 64 + 5] = to_bf16(nan);
    problem.weight[7 * 64 + 2] = to_bf16(infinity);
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

TEST_CASE("kernels of matrix products take inputs by pairs") {
  CHECK(bf16_gemm_takes(2));
  CHECK(bf16_gemm_takes(4096));
  CHECK(!bf16_gemm_takes(0));
  CHECK(!bf16_gemm_takes(7));
}
