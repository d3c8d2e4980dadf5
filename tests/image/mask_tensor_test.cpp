#include "lisa/image/mask_tensor.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/randn.h>

#include <limits>

//
#include <doctest/doctest.h>

using namespace lisa;

TEST_CASE("logit tensors of any dtype and layout become masks") {
  const at::Tensor logits = at::randn({37, 130});
  const BitMask mask = mask_from_logits(logits);
  CHECK(mask.size() == ImageSize{37, 130});
  CHECK(at::equal(mask_tensor(mask), logits.gt(0)));
  CHECK(at::equal(mask_tensor(mask_from_logits(logits.t())), logits.t().gt(0)));
  CHECK(mask_from_logits(logits.to(at::kDouble)) == mask);
  CHECK(mask_from_logits(logits.to(at::kBFloat16)) == mask);
  CHECK(area(mask_from_logits(at::full({3, 3}, std::numeric_limits<float>::quiet_NaN()))) == 0);
}

TEST_CASE("other shapes are named") {
  CHECK_THROWS_WITH_AS(static_cast<void>(mask_from_logits(at::randn({1, 2, 2}))),
                       "mask logits: found 3 dimensions, 4 values, expected [H, W]", InputError);
  CHECK_THROWS_AS(static_cast<void>(mask_from_logits(at::randn({0, 2}))), InputError);
}
