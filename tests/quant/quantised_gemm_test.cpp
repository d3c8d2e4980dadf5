// torch-free
#include "lisa/quant/quantised_gemm.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/quant/random_matrix.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
using test::integer_formats;
using test::Matrix;
using test::random_values;
using test::row_lengths;

namespace {

std::vector<std::pair<std::string, RowQuantiser>> quantisers() {
  std::vector<std::pair<std::string, RowQuantiser>> found{{"portable", quantise_inputs_portable}};
#if defined(__x86_64__)
  if (cpu::has_avx512()) found.emplace_back("avx512", quantise_inputs_avx512);
#endif
  return found;
}

std::vector<std::pair<std::string, QuantisedGemm>> gemms() {
  std::vector<std::pair<std::string, QuantisedGemm>> found{{"portable", quantised_gemm_portable}};
#if defined(__x86_64__)
  if (cpu::has_avx512_vnni()) found.emplace_back("avx512_vnni", quantised_gemm_avx512);
#endif
  return found;
}

QuantisedRows rounded(WeightFormat format, RowQuantiser quantise, const std::vector<float>& x, std::int64_t rows,
                      std::int64_t in) {
  QuantisedRows made = QuantisedRows::zeros(format, rows, in);
  quantise(x.data(), 0, rows, made);
  return made;
}

/// The value that an input stands for after it was rounded.
double rounded_input(const QuantisedRows& x, std::int64_t row, std::int64_t input) {
  const std::int64_t g = input / x.group;
  return double{x.scales[x.place(g, row)]} * x.values_of(g, row)[input % x.group];
}

/// Products of rows with a block of columns that do not equal the sum in double precision, or were written elsewhere.
std::int64_t wrong_products(const Matrix& m, QuantisedGemm gemm, const QuantisedRows& x) {
  constexpr float untouched = -12345;
  const std::int64_t out = m.view.out, last = out / gemm_columns * gemm_columns;  // the last block, whole or not
  const std::int64_t begin = last == out ? out - gemm_columns : last;
  std::vector<float> y(static_cast<std::size_t>(x.rows * out), untouched);
  gemm(m.view, x, begin, out, y.data());
  std::int64_t wrong = 0;
  for (std::int64_t row = 0; row < x.rows; ++row)
    for (std::int64_t column = 0; column < out; ++column) {
      const float found = y[static_cast<std::size_t>(row * out + column)];
      if (column < begin) {
        wrong += found == untouched ? 0 : 1;
        continue;
      }
      double sum = 0, magnitude = 0;
      for (std::int64_t i = 0; i < x.in; ++i) {
        const double product = double{m.view.value(column, i)} * rounded_input(x, row, i);
        sum += product;
        magnitude += std::abs(product);
      }
      wrong += std::abs(found - sum) <= 2e-6 * (magnitude + 1e-6) ? 0 : 1;
    }
  return wrong;
}

}  // namespace

TEST_CASE("inputs are off by half a step of their group's largest at most, and zeros stay zeros") {
  for (const auto& [name, quantise] : quantisers())
    for (const WeightFormat format : integer_formats)
      for (const std::int64_t in : row_lengths(format)) {
        CAPTURE(name);
        CAPTURE(in);
        auto x = random_values(3 * in, 31);
        x[static_cast<std::size_t>(in)] = 1000;  // costs only its own group precision
        for (std::int64_t i = 0; i < std::min<std::int64_t>(in, 128); ++i) x[static_cast<std::size_t>(2 * in + i)] = 0;
        const QuantisedRows made = rounded(format, quantise, x, 3, in);
        std::int64_t wrong = 0;
        for (std::int64_t row = 0; row < 3; ++row)
          for (std::int64_t i = 0; i < in; ++i) {
            const std::int64_t first = i / made.group * made.group;
            float largest = 0;
            for (std::int64_t k = first; k < std::min(in, first + made.group); ++k)
              largest = std::max(largest, std::abs(x[static_cast<std::size_t>(row * in + k)]));
            const double off = rounded_input(made, row, i) - double{x[static_cast<std::size_t>(row * in + i)]};
            wrong += std::abs(off) <= double{largest} / 253 ? 0 : 1;
          }
        for (std::int64_t i = 0; i < std::min<std::int64_t>(in, 128); ++i)
          wrong += rounded_input(made, 2, i) == 0 ? 0 : 1;
        CHECK(wrong == 0);
      }
}

TEST_CASE("a range of rows leaves the others alone") {
  for (const auto& [name, quantise] : quantisers()) {
    CAPTURE(name);
    const auto x = random_values(4 * 130, 32);
    QuantisedRows made = QuantisedRows::zeros(WeightFormat::int8_row, 4, 130);
    quantise(x.data(), 1, 3, made);
    for (const std::int64_t row : {0, 3})
      for (std::int64_t i = 0; i < 130; ++i) CHECK(rounded_input(made, row, i) == 0);
    const QuantisedRows whole = rounded(WeightFormat::int8_row, quantise, x, 4, 130);
    for (const std::int64_t row : {1, 2})
      for (std::int64_t i = 0; i < 130; ++i) CHECK(rounded_input(made, row, i) == rounded_input(whole, row, i));
  }
}

TEST_CASE("matrix products equal the sum in double precision at awkward sizes, and write nothing else") {
  for (const auto& [name, gemm] : gemms())
    for (const WeightFormat format : integer_formats)
      for (const std::int64_t in : row_lengths(format))
        for (const std::int64_t rows : {1, 2, 5, 6, 7, 13})
          for (const std::int64_t out : {1, 15, 64, 67, 130}) {
            CAPTURE(name);
            CAPTURE(to_string(format));
            CAPTURE(in);
            CAPTURE(rows);
            CAPTURE(out);
            const Matrix m(format, out, in, 3);
            const auto x = rounded(format, quantise_inputs_portable, random_values(rows * in, 41), rows, in);
            CHECK(wrong_products(m, gemm, x) == 0);
          }
}

TEST_CASE("NaN and infinity among the inputs make their row NaN and no other; denormals do no harm") {
  for (const auto& [quantiser_name, quantise] : quantisers())
    for (const auto& [name, gemm] : gemms())
      for (const WeightFormat format : integer_formats) {
        CAPTURE(quantiser_name);
        CAPTURE(name);
        const Matrix m(format, 64, 256, 3);
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
          auto x = random_values(3 * 256, 51);
          x[256 + 130] = bad;
          for (std::size_t i = 512; i < 768; ++i) x[i] = std::numeric_limits<float>::denorm_min() * 5;
          std::vector<float> y(3 * 64);
          gemm(m.view, rounded(format, quantise, x, 3, 256), 0, 64, y.data());
          for (std::size_t column = 0; column < 64; ++column) {
            CHECK(std::isfinite(y[column]));
            CHECK(std::isnan(y[64 + column]));
            CHECK(std::abs(y[128 + column]) < 1e-30F);
          }
        }
      }
}
