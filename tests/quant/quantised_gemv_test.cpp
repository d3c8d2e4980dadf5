// torch-free
#include "lisa/quant/quantised_gemv.hpp"

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

std::vector<std::pair<std::string, QuantisedDot>> dots() {
  std::vector<std::pair<std::string, QuantisedDot>> found{{"portable", quantised_dot_portable}};
#if defined(__x86_64__)
  if (cpu::has_avx2()) found.emplace_back("avx2", quantised_dot_avx2);
  if (cpu::has_avx512_vnni()) found.emplace_back("avx512_vnni", quantised_dot_avx512);
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
double rounded_input(const QuantisedInputs& inputs, std::int64_t i) {
  const std::int64_t group = inputs.format == WeightFormat::int8_row ? QuantisedInputs::line : nibble_run;
  return double{inputs.scales[static_cast<std::size_t>(i / group)]} *
         inputs.values[static_cast<std::size_t>(inputs.place(i))];
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

TEST_CASE("every product equals the sum in double precision, for any number of inputs together") {
  for (const auto& [name, dot] : dots()) {
    CAPTURE(name);
    for (const WeightFormat format : integer_formats)
      for (const std::int64_t in : row_lengths(format)) {
        CAPTURE(in);
        const Matrix m(format, 3, in, 1);
        std::vector<QuantisedInputs> inputs;
        for (unsigned n = 0; n < 7; ++n)
          inputs.push_back(QuantisedInputs::make(format, random_values(in, 20 + n).data(), in));
        for (const std::int64_t count : {1, 2, 3, 4, 5, 7}) {
          std::vector<float> y(static_cast<std::size_t>(count));
          dot(m.view, 1, inputs.data(), count, y.data());
          for (std::int64_t n = 0; n < count; ++n) {
            const auto& x = inputs[static_cast<std::size_t>(n)];
            double sum = 0, magnitude = 0;
            for (std::int64_t i = 0; i < in; ++i) {
              const double product = double{m.view.value(1, i)} * rounded_input(x, i);
              sum += product;
              magnitude += std::abs(product);
            }
            // int8 takes 128 times the inputs' sum away in the end, which costs some digits.
            CHECK(std::abs(y[static_cast<std::size_t>(n)] - sum) <= 1e-5 * (magnitude + 1e-3));
          }
        }
      }
  }
}

TEST_CASE("inputs are rounded to a 254th of the largest of their group") {
  for (const WeightFormat format : integer_formats) {
    const std::int64_t in = 640, group = format == WeightFormat::int8_row ? 64 : 32;
    auto x = random_values(in, 31);
    x[70] = 1000;  // costs only its own group precision
    const QuantisedInputs inputs = QuantisedInputs::make(format, x.data(), in);
    for (std::int64_t i = 0; i < in; ++i) {
      float largest = 0;
      for (std::int64_t k = i / group * group; k < (i / group + 1) * group; ++k)
        largest = std::max(largest, std::abs(x[static_cast<std::size_t>(k)]));
      CHECK(std::abs(rounded_input(inputs, i) - double{x[static_cast<std::size_t>(i)]}) <= double{largest} / 253);
    }
  }
}

TEST_CASE("NaN and infinity among the inputs make the result NaN") {
  for (const auto& [name, dot] : dots()) {
    CAPTURE(name);
    for (const WeightFormat format : integer_formats)
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
        const Matrix m(format, 1, 256);
        auto x = random_values(256, 41);
        x[130] = bad;
        const QuantisedInputs inputs = QuantisedInputs::make(format, x.data(), 256);
        float y = 0;
        dot(m.view, 0, &inputs, 1, &y);
        CHECK(std::isnan(y));
      }
  }
}

TEST_CASE("denormal inputs give a finite product") {
  for (const auto& [name, dot] : dots()) {
    CAPTURE(name);
    for (const WeightFormat format : integer_formats) {
      const Matrix m(format, 1, 128);
      const std::vector<float> x(128, std::numeric_limits<float>::denorm_min() * 5);
      const QuantisedInputs inputs = QuantisedInputs::make(format, x.data(), 128);
      float y = 1;
      dot(m.view, 0, &inputs, 1, &y);
      CHECK(std::abs(y) < 1e-30F);
    }
  }
}
