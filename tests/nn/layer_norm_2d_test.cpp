#include "lisa/nn/layer_norm_2d.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/layer_norm.h>

#include <type_traits>

#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

template <dim N>
LayerNorm2d<N> random_norm(at::ScalarType dtype) {
  return {.weight = test::random_tensor({N}, 1, dtype), .bias = test::random_tensor({N}, 2, dtype)};
}

/// The original's steps, each an operator of its own.
template <dim N>
at::Tensor steps(const LayerNorm2d<N>& norm, const at::Tensor& x) {
  const at::Tensor centred = x.sub(x.mean(-1, true));
  const at::Tensor variance = centred.pow(2).mean(-1, true);
  return centred.div(variance.add(norm.eps).sqrt()).mul(norm.weight).add(norm.bias);
}

/// The share of elements that are equal; another order of fp32 sums may turn a rounding here and there.
double equal_share(const at::Tensor& a, const at::Tensor& b) { return a.eq(b).to(at::kDouble).mean().item<double>(); }

}  // namespace

TEST_CASE_TEMPLATE_DEFINE("bf16 is rounded after every step, as by the original", Width, widths) {
  constexpr dim n = Width::value;
  const LayerNorm2d<n> norm = random_norm<n>(at::kBFloat16);
  const at::Tensor x = test::random_tensor({7, 90, n}, 3, at::kBFloat16);
  const at::Tensor expected = steps(norm, x);
  CHECK(equal_share(norm.forward(x), expected) > 0.99);
  CHECK(test::relative_l2(norm.forward(x), expected) < 2e-3);
  const at::Tensor fused = at::layer_norm(x.to(at::kFloat), {n}, norm.weight.to(at::kFloat), norm.bias.to(at::kFloat));
  CHECK(equal_share(norm.forward(x), fused.to(at::kBFloat16)) < 0.9);  // one rounding at the end is something else
  const at::Tensor strided = x.transpose(0, 1);
  CHECK(equal_share(norm.forward(strided), steps(norm, strided)) > 0.99);
}

TEST_CASE_TEMPLATE_INVOKE(widths, std::integral_constant<dim, 4>, std::integral_constant<dim, 16>,
                          std::integral_constant<dim, 64>, std::integral_constant<dim, 256>,
                          std::integral_constant<dim, 50>);

TEST_CASE("gradients pass through every step in bf16") {
  const LayerNorm2d<64> norm = random_norm<64>(at::kBFloat16);
  const at::Tensor x = test::random_tensor({3, 64}, 3, at::kBFloat16).requires_grad_(true);
  norm.forward(x).pow(2).sum().backward();
  const at::Tensor found = x.grad().clone();
  x.mutable_grad() = at::Tensor();
  steps(norm, x).pow(2).sum().backward();
  CHECK(at::equal(found, x.grad()));
}
