// torch-free
#include "lisa/cpu/few_row_product.hpp"

#include <algorithm>
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
std::vector<std::pair<std::string, FewRowProduct>> runnable() {
  std::vector<std::pair<std::string, FewRowProduct>> found;
#if defined(__x86_64__)
  if (has_avx512_bf16()) found.emplace_back("avx512", few_row_product_avx512);
#endif
  if (found.empty()) MESSAGE("not run: no kernel for this processor");
  return found;
}

using Given = RandomProduct<Bf16Bits>;

}  // namespace

TEST_CASE("every product of few rows equals the sums in double precision, at awkward sizes") {
  for (const auto& [name, kernel] : runnable()) {
    CAPTURE(name);
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 7, 8, 9, 13, 20})
      for (const std::int64_t columns : {1, 2, 5, 6, 7, 11, 12, 13, 29})
        for (const std::int64_t inner : {1, 2, 31, 32, 33, 63, 64, 100, 161}) {
          CAPTURE(rows);
          CAPTURE(columns);
          CAPTURE(inner);
          Given given(rows, inner, columns, (rows + columns) % 2 == 0);
          kernel(given.product, 0, columns);
          CHECK(is_right(given));
        }
  }
}

TEST_CASE("columns of a product of few rows can be computed in any pieces, and no others are written") {
  for (const auto& [name, kernel] : runnable())
    for (const std::int64_t rows : {2, 6, 11}) {
      CAPTURE(name);
      CAPTURE(rows);
      Given whole(rows, 77, 29, true), pieces(rows, 77, 29, true);
      kernel(whole.product, 0, 29);
      for (const auto& [begin, end] : std::vector<std::pair<std::int64_t, std::int64_t>>{{8, 29}, {0, 1}, {5, 5}})
        kernel(pieces.product, begin, end);
      for (const std::int64_t column : {1, 7}) CHECK(pieces.found(rows - 1, column) == to_float(untouched<Bf16Bits>));
      kernel(pieces.product, 1, 8);
      CHECK(pieces.y == whole.y);
    }
}

TEST_CASE("a row's product is the same wherever the row stands") {
  for (const auto& [name, kernel] : runnable()) {
    CAPTURE(name);
    Given given(9, 130, 20, false);
    for (std::int64_t row = 1; row < 9; ++row) std::copy_n(given.x.begin(), 130, given.x.begin() + row * 130);
    kernel(given.product, 0, 20);
    for (std::int64_t row = 1; row < 9; ++row)
      CHECK(std::equal(given.y.begin(), given.y.begin() + 20, given.y.begin() + row * 20));
  }
}

TEST_CASE("NaN and infinities in a product of few rows stay in their rows and columns") {
  for (const auto& [name, kernel] : runnable()) {
    CAPTURE(name);
    Given given(9, 70, 20, false);
    given.x[3 * 70 + 69] = to_bf16(std::numeric_limits<float>::quiet_NaN());
    given.weight[7 * 70 + 2] = to_bf16(std::numeric_limits<float>::infinity());
    kernel(given.product, 0, 20);
    for (std::int64_t row = 0; row < 9; ++row)
      for (std::int64_t column = 0; column < 20; ++column) {
        CAPTURE(row);
        CAPTURE(column);
        CHECK(std::isnan(given.found(row, column)) == (row == 3));
        if (row != 3) CHECK(std::isinf(given.found(row, column)) == (column == 7));
      }
  }
}

TEST_CASE("few rows are those that stay in the cache") {
  CHECK_FALSE(is_of_few_rows(1, 4096));
  CHECK(is_of_few_rows(2, 4096));
  CHECK(is_of_few_rows(64, 4096));
  CHECK_FALSE(is_of_few_rows(65, 64));
  CHECK(is_of_few_rows(23, 11008));
  CHECK_FALSE(is_of_few_rows(24, 11008));
}
