// torch-free
#include "lisa/cpu/gemv.hpp"

#include <cmath>
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
std::vector<std::pair<std::string, Bf16Dot>> runnable() {
  std::vector<std::pair<std::string, Bf16Dot>> found{{"portable", bf16_dot_portable}};
#if defined(__x86_64__)
  if (has_avx2()) found.emplace_back("avx2", bf16_dot_avx2);
  if (has_avx512_bf16()) found.emplace_back("avx512_bf16", bf16_dot_avx512);
#endif
  return found;
}

const std::vector<std::int64_t> lengths{0,  1,  2,  7,  15,  16,  17,  31,  32,  33,  47,  63,   64,
                                        65, 95, 96, 97, 127, 128, 129, 159, 160, 255, 257, 1000, 4097};

}  // namespace

TEST_CASE("bfloat16 rounds to nearest, ties to even") {
  CHECK(to_float(to_bf16(1.0F)) == 1.0F);
  CHECK(to_bf16(1.0F + 1.0F / 256) == 0x3f80);  // halfway, the even one lies below
  CHECK(to_bf16(1.0F + 3.0F / 256) == 0x3f82);  // halfway, the even one lies above
  CHECK(to_bf16(1.0F + 1.01F / 256) == 0x3f81);
  CHECK(to_bf16(-0.0F) == 0x8000);
  CHECK(to_bf16(std::numeric_limits<float>::infinity()) == 0x7f80);
  CHECK(to_bf16(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(std::isnan(to_float(to_bf16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST_CASE("every dot product equals the sum in double precision, at every length and alignment") {
  for (const auto& [name, dot] : runnable()) {
    CAPTURE(name);
    for (const std::int64_t n : lengths) {
      CAPTURE(n);
      for (const std::int64_t offset : {0, 1, 3, 17}) {
        // Guards outside of the range are huge: a value read too many would show.
        std::vector<Bf16Bits> a = random_values<Bf16Bits>(n + offset + 40, 1),
                              b = random_values<Bf16Bits>(n + offset + 40, 2);
        for (std::vector<Bf16Bits>* values : {&a, &b})
          for (std::int64_t i = 0; i < std::ssize(*values); ++i)
            if (i < offset || i >= offset + n) (*values)[static_cast<std::size_t>(i)] = to_bf16(1e18F);
        double sum = 0, magnitude = 0;
        for (std::int64_t i = offset; i < offset + n; ++i) {
          const double product =
              double{to_float(a[static_cast<std::size_t>(i)])} * double{to_float(b[static_cast<std::size_t>(i)])};
          sum += product;
          magnitude += std::abs(product);
        }
        CHECK(std::abs(dot(a.data() + offset, b.data() + offset, n) - sum) <= 2e-6 * magnitude);
      }
    }
  }
}

TEST_CASE("no dot product reads behind its operands") {
  // Exact allocations: the sanitized build of this test reports a byte read too many.
  for (const auto& [name, dot] : runnable())
    for (const std::int64_t n : lengths) {
      const std::vector<Bf16Bits> a = random_values<Bf16Bits>(n, 3), b = random_values<Bf16Bits>(n, 4);
      CHECK(std::isfinite(dot(a.data(), b.data(), n)));
    }
}

TEST_CASE("a product's columns can be computed in any pieces") {
  const std::int64_t rows = 3, inner = 45, columns = 29;
  const auto x = random_values<Bf16Bits>(rows * inner, 5), weight = random_values<Bf16Bits>(columns * inner, 6);
  const auto bias = random_values<Bf16Bits>(columns, 7);
  for (const auto& [name, dot] : runnable()) {
    CAPTURE(name);
    std::vector<Bf16Bits> whole(rows * columns), pieces(rows * columns), plain(rows * columns);
    MatrixProduct<Bf16Bits> product{x.data(), weight.data(), bias.data(), whole.data(), rows, inner, columns};
    bf16_gemv(product, dot, 0, columns);
    product.y = pieces.data();
    for (const auto& [begin, end] : std::vector<std::pair<std::int64_t, std::int64_t>>{{7, 29}, {0, 1}, {1, 7}, {5, 5}})
      bf16_gemv(product, dot, begin, end);
    CHECK(whole == pieces);
    product.y = plain.data();
    product.bias = nullptr;
    bf16_gemv(product, dot, 0, columns);
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t column = 0; column < columns; ++column) {
        const float sum = bf16_dot_portable(x.data() + row * inner, weight.data() + column * inner, inner);
        const auto at = static_cast<std::size_t>(row * columns + column);
        CHECK(to_float(plain[at]) == doctest::Approx(sum).epsilon(0.005).scale(0.01));
        CHECK(to_float(whole[at]) ==
              doctest::Approx(sum + to_float(bias[static_cast<std::size_t>(column)])).epsilon(0.005).scale(0.01));
      }
  }
}
