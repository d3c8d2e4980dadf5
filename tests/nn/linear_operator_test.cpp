#include "lisa/nn/linear_operator.hpp"

#include <array>
#include <optional>
#include <vector>

#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

at::Tensor exact(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const at::Tensor y = at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t());
  return bias ? y.add(bias->to(at::kDouble)) : y;
}

/// Largest difference between a bf16 result and the exact one, in units of the result's own rounding (2^-9 relative)
/// and of an fp32 sum.
bool within_rounding(const at::Tensor& y, const at::Tensor& expected) {
  const at::Tensor allowed = expected.abs().mul(1.0 / 256).add(expected.abs().max().mul(1e-5));
  return y.to(at::kDouble).sub(expected).abs().le(allowed).all().item<bool>();
}

}  // namespace

TEST_CASE("a product of bf16 is rounded once, at awkward sizes and any number of threads") {
  const int threads = at::get_num_threads();
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    for (const auto& [rows, inner, columns] : std::vector<std::array<dim, 3>>{{1, 1, 1},
                                                                              {1, 7, 3},
                                                                              {2, 33, 65},
                                                                              {3, 130, 31},
                                                                              {4, 64, 64},
                                                                              {5, 64, 64},
                                                                              {7, 33, 20},
                                                                              {150, 130, 70},
                                                                              {50, 1100, 65},
                                                                              {900, 34, 130},
                                                                              {17, 2, 700},
                                                                              {1, 1031, 517},
                                                                              {4, 2049, 300}}) {
      CAPTURE(rows);
      CAPTURE(inner);
      CAPTURE(columns);
      const at::Tensor x = test::random_tensor({rows, inner}, 1, at::kBFloat16);
      const at::Tensor weight = test::random_tensor({columns, inner}, 2, at::kBFloat16);
      const at::Tensor bias = test::random_tensor({columns}, 3, at::kBFloat16);
      const at::Tensor y = apply_linear(x, weight, bias);
      CHECK((shape_of(y) == Shape{rows, columns}));
      CHECK((y.scalar_type() == at::kBFloat16));
      CHECK(within_rounding(y, exact(x, weight, bias)));
      CHECK(within_rounding(apply_linear(x, weight), exact(x, weight, std::nullopt)));
    }
  }
  at::set_num_threads(threads);
}

TEST_CASE("a product in fp32 is exact but for the rounding of its sums, and the same on any number of threads") {
  const int threads = at::get_num_threads();
  for (const auto& [rows, inner, columns] :
       std::vector<std::array<dim, 3>>{{2, 7, 3}, {5, 64, 64}, {150, 131, 70}, {50, 1101, 65}, {900, 33, 130}}) {
    CAPTURE(rows);
    CAPTURE(inner);
    CAPTURE(columns);
    const at::Tensor x = test::random_tensor({rows, inner}, 1, at::kFloat);
    const at::Tensor weight = test::random_tensor({columns, inner}, 2, at::kFloat);
    const at::Tensor bias = test::random_tensor({columns}, 3, at::kFloat);
    at::set_num_threads(1);
    const at::Tensor y = apply_linear(x, weight, bias);
    CHECK((y.scalar_type() == at::kFloat));
    CHECK(test::relative_l2(y, exact(x, weight, bias)) < 2e-6);
    if (cpu::find_gemm<float>() == nullptr) continue;  // ATen's products promise no order of sums
    for (const int count : {2, 3}) {
      at::set_num_threads(count);
      CHECK(at::equal(apply_linear(x, weight, bias), y));
    }
  }
  at::set_num_threads(threads);
}

TEST_CASE("rows that are not contiguous, weights at odd addresses and other ranks give the same product") {
  const at::Tensor weight = test::random_tensor({1 + 40 * 37}, 2, at::kBFloat16).narrow(0, 1, 40 * 37).view({40, 37});
  const at::Tensor wide = test::random_tensor({37, 3}, 1, at::kBFloat16);
  const at::Tensor expected = exact(wide.t(), weight, std::nullopt);
  CHECK(within_rounding(apply_linear(wide.t(), weight), expected));
  CHECK(within_rounding(apply_linear(wide.t().contiguous().view({3, 1, 37}), weight).view({3, 40}), expected));
  CHECK(within_rounding(apply_linear(wide.select(1, 0), weight), expected[0]));
  CHECK((shape_of(apply_linear(wide.select(1, 0), weight)) == Shape{40}));
  const at::Tensor transposed = test::random_tensor({37, 40}, 4, at::kBFloat16).t();
  CHECK(within_rounding(apply_linear(wide.t(), transposed), exact(wide.t(), transposed, std::nullopt)));
  CHECK((shape_of(apply_linear(wide.t().narrow(0, 0, 0), weight)) == Shape{0, 40}));
}

TEST_CASE("other dtypes go the ordinary way") {
  const at::Tensor x = test::random_tensor({1, 50}, 1), weight = test::random_tensor({20, 50}, 2);
  CHECK(at::equal(apply_linear(x, weight), at::linear(x, weight)));
  CHECK_THROWS(static_cast<void>(apply_linear(x.to(at::kBFloat16), weight)));
  CHECK_THROWS(static_cast<void>(apply_linear(x.narrow(1, 0, 49).to(at::kBFloat16), weight.to(at::kBFloat16))));
}

TEST_CASE("gradients flow where they are asked for") {
  const at::Tensor x = test::random_tensor({1, 50}, 1, at::kBFloat16);
  const at::Tensor weight = test::random_tensor({20, 50}, 2, at::kBFloat16).requires_grad_(true);
  apply_linear(x, weight).sum().backward();
  CHECK(test::relative_l2(weight.grad(), x.expand({20, 50})) < 1e-6);
}

TEST_CASE("a product neither writes to its operands nor keeps them") {
  const at::Tensor x = test::random_tensor({2, 50}, 1, at::kBFloat16),
                   weight = test::random_tensor({20, 50}, 2, at::kBFloat16);
  const at::Tensor x_before = x.clone(), weight_before = weight.clone();
  const at::Tensor y = apply_linear(x, weight);
  CHECK(at::equal(x, x_before));
  CHECK(at::equal(weight, weight_before));
  CHECK(weight.use_count() == 1);
  CHECK(x.use_count() == 1);
  CHECK_FALSE(y.is_alias_of(x));
}

TEST_CASE("a product onto a residual is the residual and the product") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = test::random_tensor({2, 3, 50}, 1, dtype), weight = test::random_tensor({20, 50}, 2, dtype);
    const at::Tensor residual = test::random_tensor({2, 3, 20}, 3, dtype);
    CHECK(at::equal(add_linear(residual, x, weight), residual.add(apply_linear(x, weight))));
  }
}
