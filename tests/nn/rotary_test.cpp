#include "lisa/nn/rotary.hpp"

#include <cmath>

#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

/// Each pair (i, i + width/2) of a row at position p turned by p * theta^(-2i/width), in double precision; cosine and
/// sine are first rounded to `table`.
at::Tensor rotated(const at::Tensor& x, dim first, double theta, at::ScalarType table) {
  const at::Tensor in = x.to(at::kDouble).contiguous(), out = at::zeros(in.sizes(), at::kDouble);
  const dim heads = x.size(0), rows = x.size(1), width = x.size(2), half = width / 2;
  const auto round = [&](double value) {
    return table == at::kBFloat16 ? static_cast<double>(float(at::BFloat16(static_cast<float>(value)))) : value;
  };
  const auto* source = in.const_data_ptr<double>();
  auto* target = out.mutable_data_ptr<double>();
  for (dim h = 0; h < heads; ++h)
    for (dim t = 0; t < rows; ++t)
      for (dim i = 0; i < half; ++i) {
        const double angle = static_cast<double>(first + t) *
                             std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(width));
        const double c = round(std::cos(angle)), s = round(std::sin(angle));
        const dim low = (h * rows + t) * width + i, high = low + half;
        target[low] = source[low] * c - source[high] * s;
        target[high] = source[high] * c + source[low] * s;
      }
  return out;
}

}  // namespace

TEST_CASE("rotary embedding follows its formula in fp32") {
  const auto rotary = RotaryEmbedding<12>::make(400, 1e4, at::TensorOptions(at::kFloat));
  const at::Tensor x = test::random_tensor({3, 5, 12}, 1);
  for (const dim first : {0, 1, 60, 395}) {
    CAPTURE(first);
    CHECK(test::largest_difference(rotary.rotate(x, first), rotated(x, first, 1e4, at::kFloat)) < 1e-4);
  }
  CHECK(at::equal(rotary.rotate(x.narrow(1, 0, 1), 0), x.narrow(1, 0, 1)));
}

TEST_CASE("rotary embedding takes its base") {
  const auto rotary = RotaryEmbedding<8>::make(64, 1e6, at::TensorOptions(at::kFloat));
  const at::Tensor x = test::random_tensor({1, 4, 8}, 2);
  CHECK(test::largest_difference(rotary.rotate(x, 50), rotated(x, 50, 1e6, at::kFloat)) < 2e-5);
}

TEST_CASE("in bf16 the angles stay fp32 and only cosine and sine are rounded") {
  const auto rotary = RotaryEmbedding<16>::make(1024, 1e4, at::TensorOptions(at::kBFloat16));
  const at::Tensor x = test::random_tensor({2, 6, 16}, 3, at::kBFloat16);
  // Angles rounded to 8 bits would be wrong by up to 2 radians at position 1000.
  const at::Tensor expected = rotated(x, 1000, 1e4, at::kBFloat16);
  CHECK((rotary.rotate(x, 1000).scalar_type() == at::kBFloat16));
  CHECK(test::largest_difference(rotary.rotate(x, 1000), expected) < 3.0 / 128);
  CHECK(test::relative_l2(rotary.rotate(x, 1000), expected) < 4e-3);
}

TEST_CASE("products of rotated rows depend on the distance of their positions only") {
  const auto rotary = RotaryEmbedding<32>::make(300, 1e4, at::TensorOptions(at::kFloat));
  const at::Tensor q = test::random_tensor({1, 1, 32}, 4), k = test::random_tensor({1, 1, 32}, 5);
  const auto product = [&](dim i, dim j) { return rotary.rotate(q, i).mul(rotary.rotate(k, j)).sum().item<float>(); };
  CHECK(product(20, 3) == doctest::Approx(product(220, 203)).epsilon(1e-3));
  CHECK(product(20, 3) != doctest::Approx(product(21, 3)).epsilon(1e-2));
}
