#include "lisa/sam/few_token_attention.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <cmath>

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

constexpr dim heads = 3, width = heads * 16;

at::Tensor by_operators(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto split = [](const at::Tensor& t) { return t.unflatten(2, {heads, 16}).transpose(1, 2); };
  return split(q).matmul(split(k).transpose(2, 3)).div(4).softmax(-1).matmul(split(v)).transpose(1, 2).flatten(2);
}

bool runs_here() {
  const bool runs = cpu::own_kernels_enabled() && cpu::find_pixels_attend_to_tokens<float>() != nullptr;
  if (!runs) MESSAGE("not run: no kernel for this processor, or LISA_KERNELS=reference");
  return runs;
}

}  // namespace

TEST_CASE("attention of few tokens is the operators', each item its own or one for all") {
  if (!runs_here()) return;
  struct Batches {
    dim queries, keys;
  };
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16})
    for (const Batches batches : {Batches{1, 1}, {1, 3}, {3, 1}, {3, 3}})
      for (const bool pixels_ask : {false, true}) {
        CAPTURE(dtype);
        CAPTURE(batches.queries);
        CAPTURE(batches.keys);
        CAPTURE(pixels_ask);
        const dim pixels = 1111, tokens = 7;
        const at::Tensor q = random_tensor({batches.queries, pixels_ask ? pixels : tokens, width}, 1, dtype);
        const at::Tensor k = random_tensor({batches.keys, pixels_ask ? tokens : pixels, width}, 2, dtype);
        const at::Tensor v = random_tensor(shape_of(k), 3, dtype);
        const auto found = few_token_attention(q, k, v, heads);
        REQUIRE(found.has_value());
        const at::Tensor expected = by_operators(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble));
        CHECK(shape_of(*found) == shape_of(expected));
        CHECK((found->scalar_type() == dtype));
        CHECK(relative_l2(*found, expected) < (dtype == at::kFloat ? 1e-6 : 1e-2));
        // Rounded where the operators round, and no farther from the truth.
        const at::Tensor operators = by_operators(q, k, v);
        CHECK(relative_l2(*found, operators) < (dtype == at::kFloat ? 1e-6 : 5e-3));
        if (dtype != at::kFloat) CHECK(relative_l2(*found, expected) < 1.1 * relative_l2(operators, expected));
      }
}

TEST_CASE("attention of few tokens does not depend on the number of threads") {
  if (!runs_here()) return;
  const int threads = at::get_num_threads();
  for (const bool pixels_ask : {false, true}) {
    const at::Tensor pixels = random_tensor({2, 4096, width}, 1), tokens = random_tensor({2, 6, width}, 2);
    const auto run = [&] {
      return pixels_ask ? *few_token_attention(pixels, tokens, tokens, heads)
                        : *few_token_attention(tokens, pixels, pixels, heads);
    };
    at::set_num_threads(1);
    const at::Tensor alone = run();
    at::set_num_threads(3);
    CHECK(at::equal(run(), alone));
  }
  at::set_num_threads(threads);
}

TEST_CASE("attention of few tokens leaves what it cannot take to the operators") {
  const at::Tensor pixels = random_tensor({1, 100, width}, 1), tokens = random_tensor({1, 6, width}, 2);
  CHECK_FALSE(few_token_attention(pixels.to(at::kDouble), tokens.to(at::kDouble), tokens.to(at::kDouble), heads));
  CHECK_FALSE(few_token_attention(pixels, tokens, tokens, heads + 1));
  CHECK_FALSE(few_token_attention(pixels, tokens, tokens.transpose(1, 2).contiguous().transpose(1, 2), heads));
  CHECK_FALSE(few_token_attention(pixels, tokens, tokens.clone().requires_grad_(true), heads));
  CHECK_FALSE(few_token_attention(tokens, tokens, tokens, heads));
  const at::Tensor many = random_tensor({1, 17, width}, 3);
  CHECK_FALSE(few_token_attention(pixels, many, many, heads));
}
