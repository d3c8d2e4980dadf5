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

template <class Element>
std::vector<std::pair<std::string, RowQuantiser<Element>>> quantisers() {
  std::vector<std::pair<std::string, RowQuantiser<Element>>> found{{"portable", quantise_inputs_portable<Element>}};
#if defined(__x86_64__)
  if (cpu::has_avx512()) found.emplace_back("avx512", quantise_inputs_avx512<Element>);
#endif
  return found;
}

template <class Element>
std::vector<std::pair<std::string, QuantisedGemm<Element>>> gemms() {
  std::vector<std::pair<std::string, QuantisedGemm<Element>>> found{{"portable", quantised_gemm_portable<Element>}};
#if defined(__x86_64__)
  if (cpu::has_avx512_vnni()) found.emplace_back("avx512_vnni", quantised_gemm_avx512<Element>);
#endif
  return found;
}

template <class Element>
QuantisedRows rounded(WeightFormat format, RowQuantiser<Element> quantise, const std::vector<Element>& x,
                      std::int64_t rows, std::int64_t in) {
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
std::int64_t wrong_products(const Matrix& m, QuantisedGemm<float> gemm, const QuantisedRows& x) {
  constexpr float untouched = -12345;
  const std::int64_t out = m.view.out, last = out / gemm_columns * gemm_columns;  // the last block, whole or not
  const std::int64_t begin = last == out ? out - gemm_columns : last;
  std::vector<float> y(static_cast<std::size_t>(x.rows * out), untouched);
  gemm(m.view, x, begin, out, nullptr, y.data());
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
  for (const auto& [name, quantise] : quantisers<float>())
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
  for (const auto& [name, quantise] : quantisers<float>()) {
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
  for (const auto& [name, gemm] : gemms<float>())
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
            const auto x = rounded(format, quantise_inputs_portable<float>, random_values(rows * in, 41), rows, in);
            CHECK(wrong_products(m, gemm, x) == 0);
          }
}

TEST_CASE("NaN and infinity among the inputs make their row NaN and no other; denormals do no harm") {
  for (const auto& [quantiser_name, quantise] : quantisers<float>())
    for (const auto& [name, gemm] : gemms<float>())
      for (const WeightFormat format : integer_formats) {
        CAPTURE(quantiser_name);
        CAPTURE(name);
        const Matrix m(format, 64, 256, 3);
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
          auto x = random_values(3 * 256, 51);
          x[256 + 130] = bad;
          for (std::size_t i = 512; i < 768; ++i) x[i] = std::numeric_limits<float>::denorm_min() * 5;
          std::vector<float> y(3 * 64);
          gemm(m.view, rounded(format, quantise, x, 3, 256), 0, 64, nullptr, y.data());
          for (std::size_t column = 0; column < 64; ++column) {
            CHECK(std::isfinite(y[column]));
            CHECK(std::isnan(y[64 + column]));
            CHECK(std::abs(y[128 + column]) < 1e-30F);
          }
        }
      }
}

TEST_CASE("inputs in bf16 are rounded as the same values in fp32") {
  for (const auto& [name, quantise] : quantisers<cpu::Bf16Bits>())
    for (const WeightFormat format : integer_formats)
      for (const std::int64_t in : row_lengths(format)) {
        CAPTURE(name);
        CAPTURE(in);
        std::vector<cpu::Bf16Bits> narrow;
        for (const float value : random_values(3 * in, 61)) narrow.push_back(cpu::to_bf16(value));
        narrow[static_cast<std::size_t>(in)] = cpu::to_bf16(std::numeric_limits<float>::infinity());
        std::vector<float> wide;
        for (const cpu::Bf16Bits bits : narrow) wide.push_back(cpu::to_float(bits));
        const QuantisedRows found = rounded(format, quantise, narrow, 3, in);
        const QuantisedRows expected = rounded(format, quantise_inputs_portable<float>, wide, 3, in);
        CHECK(found.values == expected.values);
        CHECK(found.offsets == expected.offsets);
        std::int64_t wrong = 0;
        for (std::size_t i = 0; i < found.scales.size(); ++i)
          wrong +=
              std::isnan(expected.scales[i]) ? !std::isnan(found.scales[i]) : found.scales[i] != expected.scales[i];
        CHECK(wrong == 0);
      }
}

TEST_CASE("a bias joins the sums before their only rounding, which is to nearest in bf16") {
  const auto wide = gemms<float>();
  const auto narrow = gemms<cpu::Bf16Bits>();
  REQUIRE(wide.size() == narrow.size());
  constexpr std::int64_t rows = 7, in = 320;
  for (std::size_t kernel = 0; kernel < wide.size(); ++kernel)
    for (const WeightFormat format : integer_formats)
      for (const std::int64_t out : {1, 15, 64, 67}) {
        CAPTURE(wide[kernel].first);
        CAPTURE(to_string(format));
        CAPTURE(out);
        const Matrix m(format, out, in, 4);
        auto values = random_values(rows * in, 71);
        values[in + 3] = std::numeric_limits<float>::quiet_NaN();
        const QuantisedRows x = rounded(format, quantise_inputs_portable<float>, values, rows, in);
        const std::vector<float> bias = random_values(out, 72);
        std::vector<float> plain(static_cast<std::size_t>(rows * out)), shifted(plain.size());
        std::vector<cpu::Bf16Bits> rounded_sums(plain.size());
        for (std::int64_t begin = 0; begin < out; begin += gemm_columns) {
          const std::int64_t end = std::min(out, begin + gemm_columns);
          wide[kernel].second(m.view, x, begin, end, nullptr, plain.data());
          wide[kernel].second(m.view, x, begin, end, bias.data(), shifted.data());
          narrow[kernel].second(m.view, x, begin, end, bias.data(), rounded_sums.data());
        }
        std::int64_t wrong = 0;
        for (std::size_t i = 0; i < plain.size(); ++i) {
          const float expected = plain[i] + bias[i % static_cast<std::size_t>(out)];
          const bool is_nan = std::isnan(expected);
          wrong += is_nan ? !std::isnan(shifted[i])
                          : std::abs(shifted[i] - expected) > 1e-6F * (std::abs(expected) + std::abs(plain[i]));
          wrong += rounded_sums[i] == cpu::to_bf16(shifted[i]) ? 0 : 1;
        }
        CHECK(wrong == 0);
      }
}
