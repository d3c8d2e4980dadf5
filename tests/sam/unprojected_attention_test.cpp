#include "lisa/sam/unprojected_attention.hpp"

#include <cmath>

#include "lisa/sam/two_way_transformer.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// last: torch's logging macros of the same names must not win
#undef CHECK
#undef CHECK_EQ
#undef CHECK_NE
#undef CHECK_LT
#undef CHECK_LE
#undef CHECK_GT
#undef CHECK_GE
#include <doctest/doctest.h>

using namespace lisa;
using namespace lisa::test;

namespace {

constexpr dim width = 48, inner = 40, heads = 4;  // heads of 10: no kernel takes them
using Attention = SamDecoderAttention<width, inner, heads>;

Attention random_attention(at::ScalarType dtype) {
  Attention attention;
  fill_parameters(attention, 7, dtype);
  return attention;
}

AttentionProjections projections_of(const Attention& attention) {
  return {.query = {attention.q_proj.weight, attention.q_proj.bias},
          .key = {attention.k_proj.weight, attention.k_proj.bias},
          .value = {attention.v_proj.weight, attention.v_proj.bias},
          .out = {attention.out_proj.weight, attention.out_proj.bias},
          .heads = heads};
}

}  // namespace

TEST_CASE("moving a product's weights to the tokens changes nothing but the order of sums") {
  const Attention attention = random_attention(at::kDouble);
  const AttentionProjections projections = projections_of(attention);
  const double scale = std::sqrt(double{inner} / heads);
  for (const dim items : {1, 3})
    for (const dim pictures : {dim{1}, items})
      for (const dim count : {1, 5}) {
        CAPTURE(items);
        CAPTURE(pictures);
        CAPTURE(count);
        const at::Tensor tokens = random_tensor({items, count, width}, 1, at::kDouble);
        const at::Tensor others = random_tensor({items, count, width}, 2, at::kDouble);
        const at::Tensor pixels = random_tensor({pictures, 77, width}, 3, at::kDouble);
        const at::Tensor placed = random_tensor({pictures, 77, width}, 4, at::kDouble);
        // In double precision the attention itself projects everything.
        CHECK(relative_l2(unprojected::tokens_to_pixels(tokens, placed, pixels, projections, scale),
                          attention.forward(tokens, placed, pixels)) < 1e-13);
        CHECK(relative_l2(unprojected::pixels_to_tokens(placed, tokens, others, projections, scale),
                          attention.forward(placed, tokens, others)) < 1e-13);
      }
}

TEST_CASE("pixels stay unprojected where that is less work, in fp32 and without gradients") {
  const AttentionProjections projections = projections_of(random_attention(at::kFloat));
  const auto is_cheaper = [&](dim items, dim count, dim pictures, dim pixels, at::ScalarType dtype = at::kFloat) {
    return unprojected::is_cheaper(random_tensor({items, count, width}, 1, dtype),
                                   random_tensor({pictures, pixels, width}, 2, dtype), projections);
  };
  CHECK(is_cheaper(1, 9, 1, 77));
  CHECK_FALSE(is_cheaper(1, 10, 1, 77));  // 40 columns either way
  CHECK(is_cheaper(3, 9, 3, 77));
  CHECK_FALSE(is_cheaper(3, 9, 1, 77));  // one projection of the picture would serve all three
  CHECK_FALSE(is_cheaper(1, 9, 1, 9));
  CHECK_FALSE(is_cheaper(1, 9, 1, 77, at::kBFloat16));
  CHECK_FALSE(unprojected::is_cheaper(random_tensor({1, 9, width}, 1).requires_grad_(true),
                                      random_tensor({1, 77, width}, 2), projections));
}

TEST_CASE("the decoder's attention in fp32 is that in double precision, projected or not") {
  const Attention attention = random_attention(at::kFloat), exact = random_attention(at::kDouble);
  for (const dim count : {2, 9, 12}) {
    CAPTURE(count);
    const at::Tensor tokens = random_tensor({2, count, width}, 1), pixels = random_tensor({2, 500, width}, 2);
    const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
    CHECK(relative_l2(attention.forward(tokens, pixels, pixels),
                      exact.forward(wide(tokens), wide(pixels), wide(pixels))) < 1e-6);
    CHECK(relative_l2(attention.forward(pixels, tokens, tokens),
                      exact.forward(wide(pixels), wide(tokens), wide(tokens))) < 1e-6);
  }
}
