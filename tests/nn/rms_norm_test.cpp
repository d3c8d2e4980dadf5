#include "lisa/nn/rms_norm.hpp"

#include <cmath>
#include <vector>

#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

/// The definition, in double precision.
at::Tensor normalised(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kDouble);
  return wide.div(wide.square().mean(-1, true).add(eps).sqrt()).mul(weight.to(at::kDouble));
}

/// One row in bf16 with each rounding written out: the statistics in fp32, one rounding before the scale, one after.
std::vector<float> rounded_row(const at::Tensor& row, const at::Tensor& weight, double eps) {
  const auto n = row.numel();
  const auto* x = row.const_data_ptr<at::BFloat16>();
  const auto* w = weight.const_data_ptr<at::BFloat16>();
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(float(x[i])) * float(x[i]);
  const float scale = 1.0F / std::sqrt(static_cast<float>(sum / static_cast<double>(n)) + static_cast<float>(eps));
  std::vector<float> y;
  for (std::int64_t i = 0; i < n; ++i)
    y.push_back(float(at::BFloat16(float(at::BFloat16(float(x[i]) * scale)) * float(w[i]))));
  return y;
}

template <dim N>
RmsNorm<N> norm(double eps, at::ScalarType dtype) {
  RmsNorm<N> module{.eps = eps, .weight = {}};
  test::fill_parameters(module, 5, dtype);
  return module;
}

}  // namespace

TEST_CASE("RmsNorm follows its definition in fp32") {
  const auto module = norm<96>(1e-6, at::kFloat);
  const at::Tensor x = test::random_tensor({7, 96}, 1).mul(3);
  const at::Tensor expected = normalised(x, module.weight, 1e-6);
  CHECK(test::largest_difference(module.forward(x), expected) < 3e-6);
}

TEST_CASE("RmsNorm's epsilon rules where the row is small") {
  const auto module = norm<32>(0.5, at::kFloat);
  const at::Tensor x = test::random_tensor({2, 32}, 2).mul(1e-3);
  CHECK(test::relative_l2(module.forward(x), normalised(x, module.weight, 0.5)) < 1e-6);
  CHECK(module.forward(at::zeros({1, 32})).abs().max().item<float>() == 0);
}

TEST_CASE("RmsNorm rounds a bf16 row before and after the scale") {
  const auto module = norm<250>(1e-5, at::kBFloat16);
  const at::Tensor x = test::random_tensor({9, 250}, 3, at::kBFloat16);
  const at::Tensor y = module.forward(x);
  REQUIRE((y.scalar_type() == at::kBFloat16));
  dim different = 0, off_by_more = 0;
  for (dim row = 0; row < x.size(0); ++row) {
    const std::vector<float> expected = rounded_row(x[row], module.weight, 1e-5);
    for (dim i = 0; i < x.size(1); ++i) {
      const float found = y[row][i].item<float>(), wanted = expected[static_cast<std::size_t>(i)];
      different += found != wanted;
      off_by_more += std::abs(found - wanted) > std::abs(wanted) / 64;
    }
  }
  // The order of the fp32 sum may move a value that lies between two bf16 numbers.
  CHECK(different < 5);
  CHECK(off_by_more == 0);
}

TEST_CASE("RmsNorm keeps the shape before the last dimension and accepts rows that are not contiguous") {
  const auto module = norm<64>(1e-6, at::kBFloat16);
  const at::Tensor x = test::random_tensor({64, 3, 5}, 4, at::kBFloat16).permute({1, 2, 0});  // [3, 5, 64]
  const at::Tensor y = module.forward(x);
  CHECK((shape_of(y) == Shape{3, 5, 64}));
  CHECK(at::equal(y, module.forward(x.contiguous())));
}
