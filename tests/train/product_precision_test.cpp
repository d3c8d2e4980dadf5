#include "lisa/train/product_precision.hpp"

#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

using namespace lisa;

TEST_CASE("products from bf16 operands are close, and exact again afterwards") {
  const at::Tensor a = test::random_tensor({64, 128}, 1), b = test::random_tensor({128, 64}, 2);
  const at::Tensor exact = a.to(at::kDouble).matmul(b.to(at::kDouble));
  allow_bf16_products(true);
  const at::Tensor rounded = a.matmul(b);
  allow_bf16_products(false);
  CHECK((rounded.scalar_type() == at::kFloat));
  CHECK(test::relative_l2(rounded, exact) < 1e-2);
  CHECK(test::relative_l2(a.matmul(b), exact) < 1e-6);
}
