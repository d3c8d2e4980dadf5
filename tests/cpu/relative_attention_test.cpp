// torch-free
#include "lisa/cpu/relative_attention.hpp"

#include <cmath>
#include <concepts>
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

template <class Element>
Element from_float(float value) {
  if constexpr (std::same_as<Element, float>) return value;
  return static_cast<Element>(to_bf16(value));
}

double value_of(float value) { return value; }
double value_of(Bf16Bits bits) { return to_float(bits); }

struct Sizes {
  std::int64_t batch, height, width, heads, side;
};

/// Random operands in allocations of exactly their size, with scores and position terms of about one.
template <class Element, std::int64_t HeadDim>
struct Operands {
  explicit Operands(const Sizes& s)
      : tokens(random(s.batch * s.height * s.width * 3 * s.heads * HeadDim, 1, 1.0F)),
        padding(random(3 * s.heads * HeadDim, 2, 1.0F)),
        rel_h(random((2 * s.side - 1) * HeadDim, 3, 1.0F / std::sqrt(static_cast<float>(HeadDim)))),
        rel_w(random((2 * s.side - 1) * HeadDim, 4, 1.0F / std::sqrt(static_cast<float>(HeadDim)))),
        out(static_cast<std::size_t>(s.batch * s.height * s.width * s.heads * HeadDim), from_float<Element>(1e9F)),
        attention{tokens.data(), padding.data(), rel_h.data(), rel_w.data(), out.data(),
                  s.batch,       s.height,       s.width,      s.heads,      s.side} {}

  static std::vector<Element> random(std::int64_t n, unsigned seed, float deviation) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0, deviation);
    std::vector<Element> values;
    for (std::int64_t i = 0; i < n; ++i) values.push_back(from_float<Element>(normal(generator)));
    return values;
  }

  [[nodiscard]] std::size_t token(std::int64_t picture, std::int64_t y, std::int64_t x) const {
    return static_cast<std::size_t>((picture * attention.height + y) * attention.width + x);
  }

  std::vector<Element> tokens, padding, rel_h, rel_w, out;
  RelativeAttention<Element> attention;
};

/// One query's result by the definition, in double precision.
template <class Element, std::int64_t HeadDim>
std::vector<double> by_definition(const Operands<Element, HeadDim>& o, std::int64_t picture, std::int64_t y,
                                  std::int64_t x, std::int64_t head) {
  const auto& a = o.attention;
  const std::int64_t top = y / a.side * a.side, left = x / a.side * a.side, stride = 3 * a.heads * HeadDim;
  const auto part = [&](std::int64_t ky, std::int64_t kx, std::int64_t which) {
    const bool inside = top + ky < a.height && left + kx < a.width;
    const Element* const row =
        inside ? o.tokens.data() + static_cast<std::int64_t>(o.token(picture, top + ky, left + kx)) * stride
               : o.padding.data();
    return row + (which * a.heads + head) * HeadDim;
  };
  const auto dot = [](const Element* p, const Element* q) {
    double sum = 0;
    for (std::int64_t i = 0; i < HeadDim; ++i) sum += value_of(p[i]) * value_of(q[i]);
    return sum;
  };
  const Element* const query = part(y - top, x - left, 0);
  std::vector<double> scores;
  double largest = -std::numeric_limits<double>::infinity();
  for (std::int64_t ky = 0; ky < a.side; ++ky)
    for (std::int64_t kx = 0; kx < a.side; ++kx) {
      const double position = dot(query, o.rel_h.data() + (y - top - ky + a.side - 1) * HeadDim) +
                              dot(query, o.rel_w.data() + (x - left - kx + a.side - 1) * HeadDim);
      scores.push_back(dot(query, part(ky, kx, 1)) / std::sqrt(static_cast<double>(HeadDim)) + position);
      largest = std::max(largest, scores.back());
    }
  std::vector<double> out(HeadDim);
  double total = 0;
  for (std::int64_t key = 0; key < a.side * a.side; ++key) {
    const double p = std::exp(scores[static_cast<std::size_t>(key)] - largest);
    total += p;
    const Element* const value = part(key / a.side, key % a.side, 2);
    for (std::int64_t i = 0; i < HeadDim; ++i) out[static_cast<std::size_t>(i)] += p * value_of(value[i]);
  }
  for (double& v : out) v /= total;
  return out;
}

/// Calls `check(picture, y, x, head, computed values, expected values)` for every query.
template <class Element, std::int64_t HeadDim, class Check>
void for_each_query(const Operands<Element, HeadDim>& o, Check&& check) {
  const auto& a = o.attention;
  for (std::int64_t n = 0; n < a.batch; ++n)
    for (std::int64_t y = 0; y < a.height; ++y)
      for (std::int64_t x = 0; x < a.width; ++x)
        for (std::int64_t head = 0; head < a.heads; ++head) {
          const auto at = static_cast<std::int64_t>(o.token(n, y, x)) * a.heads + head;
          check(n, y, x, head, o.out.data() + at * HeadDim, by_definition(o, n, y, x, head));
        }
}

template <class Element>
using NamedKernel = std::pair<std::string, RelativeAttentionKernel<Element>>;

/// Every kernel that this processor can run.
template <class Element, std::int64_t HeadDim>
std::vector<NamedKernel<Element>> kernels() {
  std::vector<NamedKernel<Element>> found;
#if defined(__x86_64__)
  if (has_avx2()) found.emplace_back("avx2", relative_attention_avx2<Element, HeadDim>);
  if (has_avx512_bf16()) found.emplace_back("avx512", relative_attention_avx512<Element, HeadDim>);
#endif
  return found;
}

template <class Element, std::int64_t HeadDim>
void check_kernel_against_definition(const RelativeAttentionKernel<Element> kernel, const Sizes& sizes) {
  CAPTURE(HeadDim);
  CAPTURE(sizes.height);
  CAPTURE(sizes.width);
  CAPTURE(sizes.side);
  Operands<Element, HeadDim> o(sizes);
  kernel(o.attention, 0, o.attention.pieces());
  double error = 0, size = 0;
  for_each_query(o, [&](auto, auto, auto, auto, const Element* found, const std::vector<double>& expected) {
    for (std::int64_t i = 0; i < HeadDim; ++i) {
      const double e = expected[static_cast<std::size_t>(i)];
      error += (value_of(found[i]) - e) * (value_of(found[i]) - e);
      size += e * e;
    }
  });
  // bf16: probabilities and results are rounded to 8 bits once each, errors of about 2^-9.7 a rounding.
  CHECK(std::sqrt(error) <= (std::same_as<Element, float> ? 2e-6 : 4e-3) * std::sqrt(size));
}

template <class Element, std::int64_t HeadDim>
void check_against_definition(const Sizes& sizes) {
  for (const auto& [name, kernel] : kernels<Element, HeadDim>()) {
    CAPTURE(name);
    check_kernel_against_definition<Element, HeadDim>(kernel, sizes);
  }
}

template <class Element, std::int64_t HeadDim>
bool offered() {
  return static_cast<bool>(find_relative_attention<Element, HeadDim>());
}

/// Whether there is a kernel to test on this processor; a test without one checks that no kernel is offered.
bool kernels_exist() {
#if defined(__x86_64__)
  if (has_avx512_bf16() || has_avx2()) return true;
#endif
  CHECK_FALSE(offered<Bf16Bits, 64>());
  CHECK_FALSE(offered<float, 64>());
  return false;
}

}  // namespace

TEST_CASE("a kernel exists for the widths of SAM's heads, none for widths that are no multiple of a register") {
  CHECK(AttentionHeadDim<64>);
  CHECK(AttentionHeadDim<80>);
  CHECK_FALSE(AttentionHeadDim<72>);
  CHECK_FALSE(AttentionHeadDim<112>);
  CHECK_FALSE(offered<Bf16Bits, 72>());
  CHECK(offered<Bf16Bits, 80>() == kernels_exist());
}

TEST_CASE("attention equals its definition inside windows, whole and clipped, and over whole grids") {
  if (!kernels_exist()) return;
  for (const Sizes sizes :
       {Sizes{1, 1, 1, 1, 1}, Sizes{2, 3, 5, 3, 2}, Sizes{1, 9, 9, 2, 4}, Sizes{1, 5, 3, 1, 7}, Sizes{1, 16, 16, 2, 14},
        Sizes{1, 15, 17, 1, 15}, Sizes{1, 16, 16, 1, 16}, Sizes{1, 17, 17, 2, 17}, Sizes{1, 20, 9, 1, 33}}) {
    check_against_definition<Bf16Bits, 64>(sizes);
    check_against_definition<Bf16Bits, 80>(sizes);
    check_against_definition<float, 64>(sizes);
    check_against_definition<float, 80>(sizes);
  }
  check_against_definition<Bf16Bits, 16>({1, 32, 32, 2, 32});
  check_against_definition<Bf16Bits, 96>({1, 6, 7, 1, 6});
  check_against_definition<float, 16>({1, 7, 34, 1, 34});
  check_against_definition<float, 96>({1, 6, 7, 1, 6});
}

TEST_CASE("a whole row of SAM's global attention equals its definition") {
  if (!kernels_exist()) return;
  // 64 x 64 keys, but a grid of few queries: the keys behind it are padding.
  check_against_definition<Bf16Bits, 80>({1, 2, 64, 1, 64});
  check_against_definition<float, 64>({1, 2, 64, 1, 64});
}

TEST_CASE("the pieces of an attention can be computed in any portions and order") {
  if (!kernels_exist()) return;
  for (const auto& [name, kernel] : kernels<Bf16Bits, 64>()) {
    CAPTURE(name);
    Operands<Bf16Bits, 64> whole({2, 19, 16, 2, 14}), pieces({2, 19, 16, 2, 14});
    const std::int64_t count = whole.attention.pieces();
    kernel(whole.attention, 0, count);
    REQUIRE(count > 20);
    for (const auto& [begin, end] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {count / 2, count}, {0, 1}, {1, 8}, {8, 8}, {8, count / 2}}) {
      kernel(pieces.attention, begin, end);
    }
    CHECK(whole.out == pieces.out);
  }
}

TEST_CASE("a score far above or below the others is handled as in exact arithmetic") {
  if (!kernels_exist()) return;
  // Scores of several hundred: probabilities are 0 or 1 but for ties, and their powers of two leave fp32's range.
  for (const auto& [name, kernel] : kernels<float, 64>()) {
    CAPTURE(name);
    Operands<float, 64> o({1, 12, 12, 1, 12});
    for (float& value : o.tokens) value *= 12;
    kernel(o.attention, 0, o.attention.pieces());
    for_each_query(o, [&](auto, auto, auto, auto, const float* found, const std::vector<double>& expected) {
      for (int i = 0; i < 64; ++i)
        CHECK(found[i] == doctest::Approx(expected[static_cast<std::size_t>(i)]).epsilon(1e-3).scale(12));
    });
  }
}

namespace {

/// What a NaN or an infinity in `spoil`'s choice of a token does: which queries of one window of 3 x 3 are still
/// finite.
template <class Element, class Spoil>
std::vector<bool> finite_queries(const RelativeAttentionKernel<Element> kernel, Spoil&& spoil) {
  Operands<Element, 64> o({1, 3, 6, 1, 3});
  spoil(o.tokens);
  kernel(o.attention, 0, o.attention.pieces());
  std::vector<bool> finite;
  for (std::int64_t token = 0; token < 18; ++token) {
    bool all = true;
    for (std::int64_t i = 0; i < 64; ++i)
      all = all && std::isfinite(value_of(o.out[static_cast<std::size_t>(token * 64 + i)]));
    finite.push_back(all);
  }
  return finite;
}

template <class Element>
void check_spreading(const RelativeAttentionKernel<Element> kernel) {
  const std::size_t stride = 3 * 64, token = 7;  // the second row's second token, in the left window
  const auto spoiled = [&](std::size_t part, float value) {
    return finite_queries<Element>(kernel, [&](std::vector<Element>& tokens) {
      tokens[token * stride + part * 64 + 5] = from_float<Element>(value);
    });
  };
  std::vector<bool> all(18, true), left, query(18, true);
  for (std::size_t i = 0; i < 18; ++i) left.push_back(i % 6 >= 3);
  query[token] = false;
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  CHECK(spoiled(0, 1.0F) == all);
  CHECK(spoiled(0, nan) == query);
  CHECK(spoiled(0, infinity) == query);
  CHECK(spoiled(1, nan) == left);
  CHECK(spoiled(2, nan) == left);
  CHECK(spoiled(2, infinity) == left);
}

}  // namespace

TEST_CASE("NaN and infinity spread to their query, or from a key to its window, and no further") {
  if (!kernels_exist()) return;
  for (const auto& [name, kernel] : kernels<Bf16Bits, 64>()) {
    CAPTURE(name);
    check_spreading<Bf16Bits>(kernel);
  }
  for (const auto& [name, kernel] : kernels<float, 64>()) {
    CAPTURE(name);
    check_spreading<float>(kernel);
  }
}

TEST_CASE("a key whose score is minus infinity has no part in the result") {
  if (!kernels_exist()) return;
  for (const auto& [name, kernel] : kernels<float, 16>()) {
    CAPTURE(name);
    Operands<float, 16> o({1, 2, 2, 1, 2}), without({1, 2, 2, 1, 2});
    const std::size_t key = 16, value = 32;
    for (std::size_t i = 0; i < 16; ++i) {
      o.tokens[i] = std::abs(o.tokens[i]) + 0.1F;  // the first token's query; its key is the one that is far away
      without.tokens[i] = o.tokens[i];
      o.tokens[key + i] = -std::numeric_limits<float>::infinity();
      without.tokens[key + i] = -1e9F;
      without.tokens[value + i] = o.tokens[value + i];
    }
    kernel(o.attention, 0, o.attention.pieces());
    kernel(without.attention, 0, without.attention.pieces());
    for (std::size_t i = 0; i < 16; ++i) {
      CHECK(std::isfinite(o.out[i]));
      CHECK(o.out[i] == doctest::Approx(without.out[i]).epsilon(1e-6));
    }
  }
}
