// torch-free
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "element_values.hpp"
#include "launch.hpp"
#include "mask_kernels.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using lisa::cuda::MaskRounding;
using lisa::cuda::MaskUpsampleArguments;

namespace {

/// Sizes of one call.
struct Shape {
  int masks, side, image_side, resized_height, resized_width, height, width;
};

/// Around every edge of the tile of 64 x 32 pixels and of the block of 64 x 128, enlarging, keeping and shrinking.
const std::vector<Shape> shapes{
    {1, 16, 64, 64, 64, 1, 1},
    {1, 16, 64, 64, 43, 31, 63},
    {2, 16, 64, 43, 64, 32, 64},
    {3, 16, 64, 64, 64, 33, 65},
    {1, 16, 64, 48, 64, 127, 20},
    {1, 16, 64, 64, 48, 128, 128},
    {1, 16, 64, 37, 64, 129, 129},
    {2, 16, 64, 64, 1, 3, 90},
    {1, 16, 64, 1, 64, 40, 2},
    {1, 1, 1, 1, 1, 5, 7},
    {1, 1, 4, 3, 4, 33, 9},
    {1, 7, 7, 7, 7, 7, 7},
    {1, 8, 11, 9, 11, 50, 30},
    {1, 256, 1024, 683, 1024, 17, 26},
    {1, 256, 1024, 1024, 768, 100, 75},
};

template <class Element>
std::vector<Element> random_logits(const Shape& shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, 8.0F);
  std::vector<Element> logits(static_cast<std::size_t>(shape.masks * shape.side * shape.side));
  for (Element& logit : logits) logit = to_element<Element>(normal(random));
  return logits;
}

/// What a launch wrote.
struct Results {
  std::vector<float> logits;
  std::vector<std::uint64_t> row_bits;
  std::vector<std::uint32_t> column_bits;
};

enum class Wanted { everything, logits, bits };

std::size_t row_words(const Shape& s) { return static_cast<std::size_t>((s.width + 63) / 64); }
std::size_t column_words(const Shape& s) { return static_cast<std::size_t>((s.height + 31) / 32); }
std::size_t pixels(const Shape& s) { return static_cast<std::size_t>(s.height) * static_cast<std::size_t>(s.width); }

template <MaskRounding rounding, class Element>
Results run(const Shape& s, const std::vector<Element>& low_res, Schedule schedule, float threshold = 0.0F,
            Wanted wanted = Wanted::everything) {
  const auto masks = static_cast<std::size_t>(s.masks);
  Memory memory;
  MaskUpsampleArguments<Element> a{memory.input(low_res, "low_res"),
                                   nullptr,
                                   nullptr,
                                   nullptr,
                                   {},
                                   threshold,
                                   s.masks,
                                   s.side,
                                   s.image_side,
                                   s.resized_height,
                                   s.resized_width,
                                   s.height,
                                   s.width};
  if (wanted != Wanted::bits) a.logits = memory.output<float>(masks * pixels(s), "logits");
  if (wanted != Wanted::logits) {
    a.row_bits = memory.output<std::uint64_t>(masks * static_cast<std::size_t>(s.height) * row_words(s), "row_bits");
    a.column_bits =
        memory.output<std::uint32_t>(masks * column_words(s) * static_cast<std::size_t>(s.width), "column_bits");
  }
  REQUIRE(lisa::cuda::mask_upsample_refusal(a) == nullptr);
  const Report report =
      launch(memory, lisa::cuda::mask_upsample_geometry(a), mask_upsample<Element, rounding>, a, {schedule, 5, 2});
  REQUIRE_MESSAGE(report.clean(), report.text());
  Results results;
  const auto take = [&](const auto* data, std::size_t count, auto& into) {
    if (data == nullptr) return;
    CHECK(memory.unwritten_bytes(data) == 0);
    into.assign(data, data + count);
  };
  take(a.logits, masks * pixels(s), results.logits);
  take(a.row_bits, masks * static_cast<std::size_t>(s.height) * row_words(s), results.row_bits);
  take(a.column_bits, masks * column_words(s) * static_cast<std::size_t>(s.width), results.column_bits);
  return results;
}

/// Position of an output between two inputs, as ATen defines it: in fp32, whatever the logits' type.
struct Position {
  int first, second;
  float weight;
};

Position position(int at, int inputs, int outputs) {
  const float scale = static_cast<float>(inputs) / static_cast<float>(outputs);
  const float source = std::max(0.0F, scale * (static_cast<float>(at) + 0.5F) - 0.5F);
  const int first = std::min(static_cast<int>(source), inputs - 1);
  return {first, std::min(first + 1, inputs - 1), source - static_cast<float>(first)};
}

/// One bilinear interpolation of a [h, w] plane, computed in T.
template <class T>
std::vector<T> interpolate(const std::vector<T>& plane, int h, int w, int out_h, int out_w) {
  std::vector<T> out;
  const auto at = [&](int y, int x) { return plane[static_cast<std::size_t>(y * w + x)]; };
  for (int y = 0; y < out_h; ++y)
    for (int x = 0; x < out_w; ++x) {
      const Position rows = position(y, h, out_h), columns = position(x, w, out_w);
      const T v = rows.weight, u = columns.weight;
      const T top = (T(1) - u) * at(rows.first, columns.first) + u * at(rows.first, columns.second);
      const T bottom = (T(1) - u) * at(rows.second, columns.first) + u * at(rows.second, columns.second);
      out.push_back((T(1) - v) * top + v * bottom);
    }
  return out;
}

/// The two interpolations of one mask with the crop between them, in T.
template <class T>
std::vector<T> upsample(const std::vector<T>& low_res, const Shape& s) {
  const std::vector<T> square = interpolate(low_res, s.side, s.side, s.image_side, s.image_side);
  std::vector<T> cropped;
  for (int y = 0; y < s.resized_height; ++y)
    for (int x = 0; x < s.resized_width; ++x) cropped.push_back(square[static_cast<std::size_t>(y * s.image_side + x)]);
  return interpolate(cropped, s.resized_height, s.resized_width, s.height, s.width);
}

template <class T, class Element>
std::vector<T> one_mask(const std::vector<Element>& low_res, const Shape& s, int mask, bool magnitudes = false) {
  const auto count = static_cast<std::size_t>(s.side * s.side);
  std::vector<T> values;
  for (std::size_t i = 0; i < count; ++i) {
    const float value = as_float(low_res[static_cast<std::size_t>(mask) * count + i]);
    values.push_back(magnitudes ? std::fabs(value) : value);
  }
  return values;
}

/// Packed bits must be the logits' comparison with the threshold, and zero where there is no pixel.
void check_bits(const Results& r, const Shape& s, float threshold) {
  bool equal = true;
  for (std::size_t m = 0; m < static_cast<std::size_t>(s.masks); ++m) {
    std::vector<std::uint64_t> rows(static_cast<std::size_t>(s.height) * row_words(s));
    std::vector<std::uint32_t> columns(column_words(s) * static_cast<std::size_t>(s.width));
    for (std::size_t y = 0; y < static_cast<std::size_t>(s.height); ++y)
      for (std::size_t x = 0; x < static_cast<std::size_t>(s.width); ++x)
        if (r.logits[m * pixels(s) + y * static_cast<std::size_t>(s.width) + x] > threshold) {
          rows[y * row_words(s) + x / 64] |= std::uint64_t{1} << (x % 64);
          columns[y / 32 * static_cast<std::size_t>(s.width) + x] |= std::uint32_t{1} << (y % 32);
        }
    equal = equal &&
            std::equal(rows.begin(), rows.end(), r.row_bits.begin() + static_cast<std::ptrdiff_t>(m * rows.size())) &&
            std::equal(columns.begin(), columns.end(),
                       r.column_bits.begin() + static_cast<std::ptrdiff_t>(m * columns.size()));
  }
  CHECK(equal);
}

/// Composed logits against the same interpolations in double. Each of the two axes' weights is a sum of up to three
/// products of two factors, of which one is a rounded difference: 5 roundings; each axis then adds 3 products: 3 more.
/// To first order a logit's error is at most 16 * 2^-24 of the same interpolation of the logits' magnitudes, and a
/// factor of 1.01 covers the higher orders.
template <class Element>
void check_composed(const Shape& s, Schedule schedule) {
  CAPTURE(s.side);
  CAPTURE(s.height);
  CAPTURE(s.width);
  const std::vector<Element> low_res = random_logits<Element>(s, 11);
  const Results results = run<MaskRounding::composed>(s, low_res, schedule);
  double worst = 0;
  for (int m = 0; m < s.masks; ++m) {
    const std::vector<double> expected = upsample(one_mask<double>(low_res, s, m), s);
    const std::vector<double> magnitude = upsample(one_mask<double>(low_res, s, m, true), s);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double bound = 1.01 * 16 * 0x1p-24 * magnitude[i];
      const double error = std::fabs(results.logits[static_cast<std::size_t>(m) * pixels(s) + i] - expected[i]);
      worst = std::max(worst, bound > 0 ? error / bound : error);
    }
  }
  CHECK(worst <= 1.0);
  check_bits(results, s, 0.0F);
}

template <class Element>
void check_two_step(const Shape& s, Schedule schedule) {
  CAPTURE(s.side);
  CAPTURE(s.height);
  CAPTURE(s.width);
  const std::vector<Element> low_res = random_logits<Element>(s, 12);
  const Results results = run<MaskRounding::two_step>(s, low_res, schedule);
  bool equal = true;
  for (int m = 0; m < s.masks; ++m) {
    const std::vector<float> expected = upsample(one_mask<float>(low_res, s, m), s);
    equal = equal && std::memcmp(expected.data(), results.logits.data() + static_cast<std::size_t>(m) * pixels(s),
                                 pixels(s) * sizeof(float)) == 0;
  }
  CHECK(equal);
  check_bits(results, s, 0.0F);
}

}  // namespace

TEST_CASE("mask_upsample: composed logits are within the bound of their roundings, under every schedule") {
  for (const Schedule schedule : schedules)
    for (const Shape& shape : shapes) {
      check_composed<float>(shape, schedule);
      check_composed<Bf16>(shape, schedule);
      check_composed<Fp16>(shape, schedule);
    }
}

TEST_CASE("mask_upsample: two-step logits are those of two interpolations in fp32, to the bit") {
  for (const Schedule schedule : schedules)
    for (const Shape& shape : shapes) {
      check_two_step<float>(shape, schedule);
      check_two_step<Bf16>(shape, schedule);
      check_two_step<Fp16>(shape, schedule);
    }
}

TEST_CASE("mask_upsample: logits and bits can be had alone, and the threshold is the caller's") {
  const Shape s = shapes[5];
  const std::vector<float> low_res = random_logits<float>(s, 13);
  const Results all = run<MaskRounding::composed>(s, low_res, Schedule::forward, 2.5F);
  check_bits(all, s, 2.5F);
  const Results logits = run<MaskRounding::composed>(s, low_res, Schedule::forward, 2.5F, Wanted::logits);
  const Results bits = run<MaskRounding::composed>(s, low_res, Schedule::forward, 2.5F, Wanted::bits);
  CHECK(logits.logits == all.logits);
  CHECK(bits.row_bits == all.row_bits);
  CHECK(bits.column_bits == all.column_bits);
}

TEST_CASE("mask_upsample: a logit equal to the threshold and one that is no number are background") {
  const Shape s{1, 4, 4, 4, 4, 4, 4};
  std::vector<float> low_res(16, 1.0F);
  low_res[0] = 0.0F;
  low_res[15] = std::numeric_limits<float>::quiet_NaN();
  const Results results = run<MaskRounding::two_step>(s, low_res, Schedule::forward);
  CHECK(results.row_bits[0] == 0b1110U);
  CHECK((results.row_bits[3] & 0b1000U) == 0);
  CHECK((results.column_bits[3] & 0b1000U) == 0);
}

TEST_CASE("mask_upsample: no masks are no launch") {
  Shape s = shapes[0];
  s.masks = 0;
  for (const Schedule schedule : schedules)
    CHECK(run<MaskRounding::composed>(s, std::vector<float>{}, schedule).logits.empty());
}

TEST_CASE("mask_upsample: three low-res coordinates hold everything that a pixel takes from") {
  // For all sizes of the square up to 160, and around the largest.
  for (int image_side = 1; image_side <= 2048;
       image_side = image_side == 160 ? 1500 : image_side + (image_side < 160 ? 1 : 137))
    for (int side = 1; side <= image_side; side += 1 + side / 24)
      for (int at = 0; at + 1 < image_side; ++at) {
        const Position near = position(at, side, image_side), far = position(at + 1, side, image_side);
        REQUIRE(far.first >= near.first);
        REQUIRE(far.second <= near.first + 2);
      }
}

TEST_CASE("mask_upsample: what it can't do is refused in words") {
  MaskUpsampleArguments<float> good{nullptr, nullptr, nullptr, nullptr, {}, 0, 1, 256, 1024, 768, 1024, 480, 640};
  REQUIRE(lisa::cuda::mask_upsample_refusal(good) == nullptr);
  const auto refused = [&](auto change, const char* words) {
    auto a = good;
    change(a);
    const char* const refusal = lisa::cuda::mask_upsample_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  refused([](auto& a) { a.masks = -1; }, "0 to 65535 masks");
  refused([](auto& a) { a.masks = 65536; }, "0 to 65535 masks");
  refused([](auto& a) { a.side = 0; }, "low-res masks must");
  refused([](auto& a) { a.side = 1025; }, "low-res masks must");
  refused([](auto& a) { a.image_side = 2049; }, "up to 2048");
  refused([](auto& a) { a.resized_height = 0; }, "resized image");
  refused([](auto& a) { a.resized_height = 1025; }, "resized image");
  refused([](auto& a) { a.resized_width = 0; }, "resized image");
  refused([](auto& a) { a.resized_width = 1025; }, "resized image");
  refused([](auto& a) { a.height = 0; }, "1 to 65535 pixels");
  refused([](auto& a) { a.height = 65536; }, "1 to 65535 pixels");
  refused([](auto& a) { a.width = 0; }, "1 to 65535 pixels");
  refused([](auto& a) { a.width = 65536; }, "1 to 65535 pixels");
  std::uint32_t word = 0;
  good.column_bits = &word;
  good.run_lengths = {&word, &word, &word, nullptr, &word, 1};
  REQUIRE(lisa::cuda::mask_upsample_refusal(good) == nullptr);
  refused([](auto& a) { a.column_bits = nullptr; }, "from the bits by columns");
  refused([](auto& a) { a.run_lengths.capacity = 0; }, "at least one run length");
}
