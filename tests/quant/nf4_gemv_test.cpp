// torch-free
#include "lisa/quant/nf4_gemv.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "tests/quant/random_matrix.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
using test::Matrix;
using test::random_values;

namespace {

constexpr WeightFormat nf4 = WeightFormat::nf4_group64;

std::vector<std::pair<std::string, Nf4Dot>> dots() {
  std::vector<std::pair<std::string, Nf4Dot>> found{{"portable", nf4_dot_portable}};
#if defined(__x86_64__)
  if (cpu::has_avx2()) found.emplace_back("avx2", nf4_dot_avx2);
  if (cpu::has_avx512()) found.emplace_back("avx512", nf4_dot_avx512);
#endif
  return found;
}

/// The value below which a normal variable lies with a probability, by bisection.
double normal_quantile(double probability) {
  double low = -10, high = 10;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::numbers::sqrt2) / 2 < probability ? low : high) = middle;
  }
  return low;
}

}  // namespace

TEST_CASE("the levels are the quantiles of the paper's appendix") {
  // From 1 - (1/32 + 1/30) / 2 to a half in eight equal steps above zero, in seven below.
  const double end = 1 - (1.0 / 32 + 1.0 / 30) / 2, largest = normal_quantile(end);
  for (int i = 0; i < 8; ++i)
    CHECK(std::abs(normal_quantile(0.5 + (end - 0.5) * (i + 1) / 8) / largest -
                   double{nf4_levels[static_cast<std::size_t>(8 + i)]}) < 1e-6);
  for (int i = 0; i < 7; ++i)
    CHECK(std::abs(normal_quantile(0.5 + (end - 0.5) * (i + 1) / 7) / largest +
                   double{nf4_levels[static_cast<std::size_t>(6 - i)]}) < 1e-6);
  CHECK(nf4_levels[7] == 0);
}

TEST_CASE("a weight becomes the nearest level of its group's largest magnitude") {
  for (const std::int64_t in : test::row_lengths(nf4)) {
    CAPTURE(in);
    const Matrix m(nf4, 2, in);
    std::int64_t wrong = 0;
    for (std::int64_t row = 0; row < 2; ++row)
      for (std::int64_t i = 0; i < in; ++i) {
        float largest = 0;
        const std::int64_t begin = i / nf4_group * nf4_group;
        for (std::int64_t k = begin; k < std::min(in, begin + nf4_group); ++k)
          largest = std::max(largest, std::abs(m.weight(row, k)));
        const double scale = m.view.scale(row, i), weight = m.weight(row, i);
        wrong += std::abs(scale - largest) <= largest / 256 ? 0 : 1;  // rounded to bf16
        double nearest = std::numeric_limits<double>::infinity();
        for (const float level : nf4_levels) nearest = std::min(nearest, std::abs(double{level} * scale - weight));
        wrong += std::abs(double{m.view.value(row, i)} - weight) <= nearest + 1e-6 * largest ? 0 : 1;
      }
    CHECK(wrong == 0);
  }
}

TEST_CASE("every product equals the sum in double precision, for any number of rows together") {
  for (const auto& [name, dot] : dots())
    for (const std::int64_t in : test::row_lengths(nf4)) {
      CAPTURE(name);
      CAPTURE(in);
      const Matrix m(nf4, 3, in, 1);
      for (const std::int64_t count : {1, 2, 3, 4, 5, 7}) {
        const auto x = random_values(count * in, 20);
        std::vector<float> y(static_cast<std::size_t>(count));
        dot(m.view, 1, x.data(), count, y.data());
        for (std::int64_t n = 0; n < count; ++n) {
          double sum = 0, magnitude = 0;
          for (std::int64_t i = 0; i < in; ++i) {
            const double product = double{m.view.value(1, i)} * double{x[static_cast<std::size_t>(n * in + i)]};
            sum += product;
            magnitude += std::abs(product);
          }
          // 64 additions within a group, one of each group, and a rounding of each product and scale.
          const double roundings = 64 + static_cast<double>(in / nf4_group) + 4;
          CHECK(std::abs(y[static_cast<std::size_t>(n)] - sum) <=
                roundings * std::numeric_limits<float>::epsilon() * magnitude);
        }
      }
    }
}

TEST_CASE("NaN and infinity reach the result of their row and no other, denormals do no harm") {
  for (const auto& [name, dot] : dots()) {
    CAPTURE(name);
    const Matrix m(nf4, 1, 200);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      auto x = random_values(3 * 200, 41);
      x[200 + 130] = bad;
      for (std::size_t i = 400; i < 600; ++i) x[i] = std::numeric_limits<float>::denorm_min() * 5;
      std::vector<float> y(3);
      dot(m.view, 0, x.data(), 3, y.data());
      CHECK(std::isfinite(y[0]));
      CHECK_FALSE(std::isfinite(y[1]));
      CHECK(std::abs(y[2]) < 1e-30F);
    }
  }
}
