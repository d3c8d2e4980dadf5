// torch-free
#include "lisa/quant/quantised_gemv.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "lisa/quant/dequantise.hpp"
#include "tests/quant/random_matrix.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
using test::integer_formats;
using test::Matrix;
using test::random_values;
using test::row_lengths;
using test::weight_formats;

namespace {

/// The products that this processor can run.
template <class Element = float>
std::vector<std::pair<std::string, QuantisedGemv<Element>>> products() {
  std::vector<std::pair<std::string, QuantisedGemv<Element>>> found{
      {"portable", quantised_gemv_of_dots<quantised_dot_portable, Element>}};
#if defined(__x86_64__)
  if (cpu::has_avx2()) found.emplace_back("avx2", quantised_gemv_of_dots<quantised_dot_avx2, Element>);
  if (cpu::has_avx512_vnni()) found.emplace_back("avx512_vnni", quantised_gemv_avx512<Element>);
#endif
  return found;
}

std::vector<std::pair<std::string, RowDequantiser>> dequantisers() {
  std::vector<std::pair<std::string, RowDequantiser>> found{{"portable", dequantise_row_portable}};
#if defined(__x86_64__)
  if (cpu::has_avx2()) found.emplace_back("avx2", dequantise_row_avx2);
  if (cpu::has_avx512()) found.emplace_back("avx512", dequantise_row_avx512);
#endif
  return found;
}

/// The value that an input stands for after it was rounded.
double rounded_input(const QuantisedInputs& inputs, std::int64_t row, std::int64_t i) {
  return double{inputs.scales_of(row)[i / inputs.group]} * inputs.values_of(row)[inputs.place(i)];
}

}  // namespace

TEST_CASE("formats are told from the bytes of a row, and names are read back") {
  for (const WeightFormat format : weight_formats) {
    CHECK(parse_weight_format(to_string(format)) == format);
    std::int64_t wrong = 0;
    for (std::int64_t in = 65; in <= 20000; ++in) wrong += fits(format, in) ? 0 : 1;
    CHECK(wrong == 0);
  }
  // 18 bytes are a row of 14 in int8.
  CHECK(fits(WeightFormat::int8_row, 14));
  CHECK_FALSE(fits(WeightFormat::int4_group32, 14));
  CHECK(fits(WeightFormat::int4_group32, 64));
  // 34 bytes are a row of 64 in NF4 and would be one with a single scale for 128.
  CHECK(fits(WeightFormat::nf4_group64, 64));
  CHECK_FALSE(fits(WeightFormat::int4_group128, 64));
  CHECK_FALSE(format_of(4096, 4096).has_value());
  CHECK_FALSE(fits(WeightFormat::int8_row, 0));
  CHECK_THROWS_WITH_AS((void)parse_weight_format("int2"),
                       "weights: found \"int2\", expected one of int8, int4, nf4, int4-128", InputError);
}

TEST_CASE("rows of whole groups have no padding, others a last run of their own and a last group that may be shorter") {
  for (const std::int64_t in : {128, 1024, 4096, 5120, 11008, 13824}) {
    CHECK(row_bytes(WeightFormat::int8_row, in) == in + 4);
    CHECK(row_bytes(WeightFormat::int4_group32, in) == in / 2 + in / 32 * 2);
    CHECK(row_bytes(WeightFormat::int4_group128, in) == in / 2 + in / 128 * 2);
    CHECK(row_bytes(WeightFormat::nf4_group64, in) == in / 2 + in / 64 * 2);
  }
  CHECK(row_bytes(WeightFormat::int4_group32, 344) == 352 / 2 + 11 * 2);
  CHECK(row_bytes(WeightFormat::int4_group128, 344) == 352 / 2 + 3 * 2);
  CHECK(row_bytes(WeightFormat::nf4_group64, 344) == 352 / 2 + 6 * 2);
}

TEST_CASE("four bits have a place of their own for every weight of a row and the zeros behind it") {
  for (const WeightFormat format : {WeightFormat::int4_group32, WeightFormat::nf4_group64})
    for (const std::int64_t in : {1, 32, 33, 64, 65, 344, 480, 511, 512, 1376}) {
      CAPTURE(in);
      const std::int64_t padded = 2 * value_bytes(format, in);
      CHECK(padded - in < nibble_run);
      std::vector<int> used(static_cast<std::size_t>(padded));
      for (std::int64_t i = 0; i < padded; ++i) {
        const NibblePlace place = format == WeightFormat::nf4_group64 ? nf4_place(i) : int4_place(in, i);
        REQUIRE(place.byte < padded / 2);
        ++used[static_cast<std::size_t>(place.byte * 2 + (place.high ? 1 : 0))];
      }
      CHECK(used == std::vector<int>(static_cast<std::size_t>(padded), 1));
    }
}

TEST_CASE("a group's scale serves its own weights alone, also where the last group is shorter") {
  for (const WeightFormat format :
       {WeightFormat::int4_group32, WeightFormat::nf4_group64, WeightFormat::int4_group128}) {
    const std::int64_t in = 344, size = group_size(format, in), last = in / size * size;
    auto weights = random_values(in, 3);
    for (std::int64_t i = last; i < in; ++i) weights[static_cast<std::size_t>(i)] *= 1000;
    std::vector<std::byte> bytes(static_cast<std::size_t>(row_bytes(format, in)));
    quantise_rows(format, 1, in, weights.data(), 0, 1, bytes.data());
    const QuantisedMatrix m{format, 1, in, bytes.data()};
    for (const bool in_last : {false, true}) {
      double error = 0, length = 0;
      for (std::int64_t i = in_last ? last : 0; i < (in_last ? in : last); ++i) {
        const double weight = weights[static_cast<std::size_t>(i)], off = double{m.value(0, i)} - weight;
        error += off * off;
        length += weight * weight;
      }
      CHECK(std::sqrt(error) <= 0.12 * std::sqrt(length));
    }
  }
}

TEST_CASE("weights too small for a scale with an inverse become zeros") {
  for (const WeightFormat format : weight_formats) {
    std::vector<float> weights(128, std::numeric_limits<float>::denorm_min() * 3);
    weights[7] = 0;
    std::vector<std::byte> bytes(static_cast<std::size_t>(row_bytes(format, 128)));
    quantise_rows(format, 1, 128, weights.data(), 0, 1, bytes.data());
    const QuantisedMatrix m{format, 1, 128, bytes.data()};
    for (std::int64_t i = 0; i < 128; ++i) CHECK(m.value(0, i) == 0);
  }
}

TEST_CASE("a weight is off by half a step at most") {
  for (const WeightFormat format : integer_formats)
    for (const std::int64_t in : row_lengths(format)) {
      CAPTURE(in);
      const Matrix m(format, 3, in);
      double error = 0, size = 0;
      for (std::int64_t row = 0; row < 3; ++row)
        for (std::int64_t i = 0; i < in; ++i) {
          const double off = std::abs(double{m.view.value(row, i)} - double{m.weight(row, i)});
          const int q = m.view.integer(row, i);
          // The end of a range may have been placed inside of the largest weight, where that serves the others.
          const bool at_end = format != WeightFormat::int8_row && (q == -8 || q == 7);
          if (!at_end) CHECK(off <= 0.5001 * std::abs(double{m.view.scale(row, i)}));
          error += off * off;
          size += double{m.weight(row, i)} * double{m.weight(row, i)};
        }
      CHECK(std::sqrt(error) <= (format == WeightFormat::int8_row ? 0.015 : 0.12) * std::sqrt(size));
    }
}

TEST_CASE("zeros stay zeros, and the largest weight of int8 keeps its value") {
  for (const WeightFormat format : weight_formats) {
    std::vector<float> weights(256);
    weights[5] = -0.75F;
    std::vector<std::byte> bytes(static_cast<std::size_t>(2 * row_bytes(format, 128)));
    quantise_rows(format, 2, 128, weights.data(), 0, 2, bytes.data());
    const QuantisedMatrix m{format, 2, 128, bytes.data()};
    CHECK(m.value(0, 5) == doctest::Approx(-0.75).epsilon(0.005));
    for (std::int64_t i = 0; i < 128; ++i) {
      if (i != 5) CHECK(m.value(0, i) == 0);
      CHECK(m.value(1, i) == 0);
    }
  }
}

TEST_CASE("every dequantiser gives the values of the format, at odd addresses too") {
  for (const auto& [name, dequantise] : dequantisers()) {
    CAPTURE(name);
    for (const WeightFormat format : weight_formats)
      for (const std::int64_t in : row_lengths(format)) {
        CAPTURE(in);
        const Matrix m(format, 3, in, 3);
        for (std::int64_t row = 0; row < 3; ++row) {
          std::vector<float> out(static_cast<std::size_t>(in));
          dequantise(m.view, row, out.data());
          std::int64_t different = 0;
          for (std::int64_t i = 0; i < in; ++i)
            different += out[static_cast<std::size_t>(i)] == m.view.value(row, i) ? 0 : 1;
          CHECK(different == 0);
        }
      }
  }
}

TEST_CASE("every product equals the sum in double precision, for any number of rows and columns together") {
  for (const auto& [name, product] : products()) {
    CAPTURE(name);
    for (const WeightFormat format : integer_formats)
      for (const std::int64_t in : row_lengths(format)) {
        CAPTURE(in);
        const std::int64_t out = 8;
        const Matrix m(format, out, in, 1);
        const auto bias = random_values(out, 5);
        for (const std::int64_t rows : {1, 2, 3, 4, 5, 7}) {
          CAPTURE(rows);
          const auto x = random_values(rows * in, 20);
          const QuantisedInputs inputs = QuantisedInputs::make(format, x.data(), rows, in);
          std::vector<float> y(static_cast<std::size_t>(rows * out));
          const float* const shifts = rows % 2 == 0 ? bias.data() : nullptr;
          product(m.view, inputs, 0, out, shifts, y.data());
          for (std::int64_t row = 0; row < rows; ++row)
            for (std::int64_t column = 0; column < out; ++column) {
              double sum = shifts != nullptr ? double{shifts[column]} : 0, magnitude = std::abs(sum);
              for (std::int64_t i = 0; i < in; ++i) {
                const double term = double{m.view.value(column, i)} * rounded_input(inputs, row, i);
                sum += term;
                magnitude += std::abs(term);
              }
              CHECK(std::abs(y[static_cast<std::size_t>(row * out + column)] - sum) <= 2e-6 * (magnitude + 1e-3));
            }
        }
      }
  }
}

TEST_CASE("a product is the same in any piece and whatever other rows there are, and nothing else is written") {
  for (const auto& [name, product] : products<cpu::Bf16Bits>()) {
    CAPTURE(name);
    for (const WeightFormat format : integer_formats) {
      const std::int64_t out = 20, in = 1000, rows = 6;
      const Matrix m(format, out, in);
      const auto x = random_values(rows * in, 9);
      const auto untouched = cpu::to_bf16(1e30F);
      std::vector<cpu::Bf16Bits> whole(rows * out), pieces(rows * out, untouched), alone(out);
      const QuantisedInputs inputs = QuantisedInputs::make(format, x.data(), rows, in);
      product(m.view, inputs, 0, out, nullptr, whole.data());
      for (const auto& [begin, end] : std::vector<std::pair<std::int64_t, std::int64_t>>{{7, 20}, {0, 1}, {5, 5}})
        product(m.view, inputs, begin, end, nullptr, pieces.data());
      CHECK(pieces[1] == untouched);
      CHECK(pieces[(rows - 1) * out + 6] == untouched);
      product(m.view, inputs, 1, 7, nullptr, pieces.data());
      CHECK(pieces == whole);
      for (std::int64_t row = 0; row < rows; ++row) {
        product(m.view, QuantisedInputs::make(format, x.data() + row * in, 1, in), 0, out, nullptr, alone.data());
        CHECK(std::equal(alone.begin(), alone.end(), whole.begin() + row * out));
      }
    }
  }
}

TEST_CASE("inputs are rounded to a 254th of the largest of their group, in fp32 and in bf16") {
  for (const WeightFormat format : integer_formats) {
    const std::int64_t in = 640, group = format == WeightFormat::int8_row ? 256 : 32;
    auto x = random_values(2 * in, 31);
    x[70] = 1000;  // costs only its own group precision
    std::vector<cpu::Bf16Bits> narrow;
    for (const float value : x) narrow.push_back(cpu::to_bf16(value));
    for (const bool bf16 : {false, true}) {
      const QuantisedInputs inputs =
          bf16 ? QuantisedInputs::make(format, narrow.data(), 2, in) : QuantisedInputs::make(format, x.data(), 2, in);
      const auto given = [&](std::int64_t i) {
        const auto at = static_cast<std::size_t>(i);
        return bf16 ? cpu::to_float(narrow[at]) : x[at];
      };
      for (std::int64_t i = 0; i < 2 * in; ++i) {
        const std::int64_t first = i / in * in + i % in / group * group,
                           end = std::min(i / in * in + in, first + group);
        float largest = 0;
        for (std::int64_t k = first; k < end; ++k) largest = std::max(largest, std::abs(given(k)));
        CHECK(std::abs(rounded_input(inputs, i / in, i % in) - double{given(i)}) <= double{largest} / 253);
      }
    }
  }
}

TEST_CASE("NaN and infinity among the inputs make their own row's results NaN") {
  for (const auto& [name, product] : products()) {
    CAPTURE(name);
    for (const WeightFormat format : integer_formats)
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
        const Matrix m(format, 4, 256);
        auto x = random_values(3 * 256, 41);
        x[256 + 130] = bad;
        std::vector<float> y(3 * 4);
        product(m.view, QuantisedInputs::make(format, x.data(), 3, 256), 0, 4, nullptr, y.data());
        for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i / 4 == 1));
      }
  }
}

TEST_CASE("denormal inputs give a finite product") {
  for (const auto& [name, product] : products()) {
    CAPTURE(name);
    for (const WeightFormat format : integer_formats) {
      const Matrix m(format, 1, 128);
      const std::vector<float> x(128, std::numeric_limits<float>::denorm_min() * 5);
      float y = 1;
      product(m.view, QuantisedInputs::make(format, x.data(), 1, 128), 0, 1, nullptr, &y);
      CHECK(std::abs(y) < 1e-30F);
    }
  }
}
