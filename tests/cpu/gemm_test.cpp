// torch-free
#include "lisa/cpu/gemm.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

//
#include <doctest/doctest.h>

#include "tests/cpu/random_product.hpp"

using namespace lisa::cpu;

namespace {

/// The kernels that this processor can run.
template <class Element>
std::vector<std::pair<std::string, GemmKernel<Element>>> runnable() {
  std::vector<std::pair<std::string, GemmKernel<Element>>> found;
#if defined(__x86_64__)
  if (has_avx512_bf16()) found.emplace_back("avx512", gemm_avx512<Element>);
#endif
  return found;
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
          RandomProduct<Element> problem(rows, inner, columns, (rows + columns) % 2 == 0);
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
      RandomProduct<Element> problem(775, inner, 70, true);
      kernel(problem.product, {0, 775, 0, 70});
      CHECK(is_right(problem));
    }
}

TEST_CASE_TEMPLATE("parts of a matrix product can be computed in any order, and nothing outside of them is written",
                   Element, Bf16Bits, float) {
  const std::int64_t rows = 23, inner = 1100, columns = 150;
  for (const auto& [name, kernel] : runnable<Element>()) {
    CAPTURE(name);
    RandomProduct<Element> whole(rows, inner, columns, true), pieces(rows, inner, columns, true);
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
    RandomProduct<Element> problem(8, 64, 20, false);
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
