#include "lisa/sam/relative_attention.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <cstdint>

#include "lisa/sam/relative_position.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

TEST_CASE("a table that fits gives row query - key + side - 1") {
  const at::Tensor table = at::arange(7, at::kFloat).unsqueeze(1);  // side 4
  const at::Tensor positions = relative_positions(table, 4);
  REQUIRE(shape_of(positions) == Shape{4, 4, 1});
  for (std::int64_t q = 0; q < 4; ++q) {
    for (std::int64_t k = 0; k < 4; ++k) CHECK(positions[q][k][0].item<float>() == static_cast<float>(q - k + 3));
  }
}

TEST_CASE("a table of another length is interpolated linearly with the ends of the pixels aligned") {
  // 3 rows to 5: centres at (i + 0.5) * 3 / 5 - 0.5 = -0.2, 0.4, 1, 1.6, 2.2, clamped to the table.
  const at::Tensor table = at::arange(3, at::kFloat).unsqueeze(1);
  const at::Tensor positions = relative_positions(table, 3);
  const double row[] = {0, 0.4, 1, 1.6, 2};
  for (std::int64_t q = 0; q < 3; ++q) {
    for (std::int64_t k = 0; k < 3; ++k) {
      CHECK(positions[q][k][0].item<float>() == doctest::Approx(row[q - k + 2]).epsilon(1e-5));
    }
  }
}

struct Inputs {
  at::Tensor q, k, v, rel_h, rel_w;
};

/// Scores and both position terms of size one.
Inputs inputs(dim batch, dim h, dim w, dim side, dim d, at::ScalarType dtype) {
  const auto positions = [&](std::uint64_t seed) {
    const at::Tensor table = random_tensor({2 * side - 1, d}, seed).div(std::sqrt(static_cast<double>(d)));
    return relative_positions(table.to(dtype), side);
  };
  return {random_tensor({batch, h, w, d}, 1, dtype), random_tensor({batch, side * side, d}, 2, dtype),
          random_tensor({batch, side * side, d}, 3, dtype), positions(4), positions(5)};
}

/// The definition, one query at a time, in double precision.
at::Tensor attention_by_definition(const Inputs& x) {
  const dim batch = x.q.size(0), h = x.q.size(1), w = x.q.size(2), d = x.q.size(3), side = x.rel_h.size(1);
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  at::Tensor out = at::empty(x.q.sizes(), at::kDouble);
  for (dim n = 0; n < batch; ++n) {
    for (dim y = 0; y < h; ++y) {
      for (dim z = 0; z < w; ++z) {
        const at::Tensor q = wide(x.q[n][y][z]);
        const at::Tensor rows = at::matmul(wide(x.rel_h[y]), q), columns = at::matmul(wide(x.rel_w[z]), q);
        const at::Tensor bias = rows.unsqueeze(1).add(columns.unsqueeze(0)).view({side * side});
        const at::Tensor scores = at::matmul(wide(x.k[n]), q).div(std::sqrt(static_cast<double>(d))).add(bias);
        out[n][y][z].copy_(at::matmul(at::softmax(scores, 0), wide(x.v[n])));
      }
    }
  }
  return out;
}

TEST_CASE("attention equals its definition, with short and long rows of keys and with clipped queries") {
  const c10::InferenceMode inference;
  struct Case {
    dim batch, h, w, side, d;
  };
  for (const Case c : {Case{3, 5, 5, 5, 8}, Case{2, 3, 5, 5, 8}, Case{2, 1, 2, 7, 6}, Case{1, 33, 33, 33, 4},
                       Case{2, 2, 31, 31, 10}, Case{1, 4, 3, 40, 16}, Case{1, 1, 1, 1, 2}}) {
    CAPTURE(c.side);
    CAPTURE(c.h);
    const Inputs exact = inputs(c.batch, c.h, c.w, c.side, c.d, at::kDouble);
    const Inputs rounded = inputs(c.batch, c.h, c.w, c.side, c.d, at::kBFloat16);
    const auto run = [](const Inputs& x) { return relative_attention(x.q, x.k, x.v, x.rel_h, x.rel_w); };
    CHECK(relative_l2(run(exact), attention_by_definition(exact)) < 1e-13);
    CHECK(relative_l2(run(rounded), attention_by_definition(rounded)) < 2e-2);
  }
}

TEST_CASE("the bound on scores held at once does not change the result") {
  const c10::InferenceMode inference;
  for (const dim side : {6, 34}) {
    CAPTURE(side);
    const Inputs x = inputs(5, side, side - 1, side, 8, at::kFloat);
    const at::Tensor whole = relative_attention(x.q, x.k, x.v, x.rel_h, x.rel_w, dim{1} << 40);
    for (const dim elements : {dim{1}, 2 * side * side * side, 3 * side * side * side * side + 1}) {
      CAPTURE(elements);
      CHECK(largest_difference(relative_attention(x.q, x.k, x.v, x.rel_h, x.rel_w, elements), whole) < 1e-6);
    }
  }
}

TEST_CASE("bf16 rounds where the original rounds") {
  // Scaled q, scores, and the scores after each of the two additions are bf16 in the original; done in fp32 with
  // explicit rounding, the probabilities' input must agree to the bit but for ties of differently ordered sums.
  const c10::InferenceMode inference;
  const Inputs x = inputs(2, 6, 6, 6, 8, at::kBFloat16);
  const auto round = [](const at::Tensor& t) { return t.to(at::kBFloat16).to(at::kFloat); };
  const auto wide = [](const at::Tensor& t) { return t.to(at::kFloat); };
  const at::Tensor q = wide(x.q).view({2, 36, 8}), k = wide(x.k);
  at::Tensor scores = round(at::matmul(round(q.mul(1.0 / std::sqrt(8.0))), k.transpose(1, 2))).view({2, 6, 6, 6, 6});
  const at::Tensor rows = round(at::matmul(wide(x.q), wide(x.rel_h).transpose(1, 2)));  // [2, h, w, side], over h
  const at::Tensor columns =
      round(at::matmul(wide(x.q).transpose(1, 2), wide(x.rel_w).transpose(1, 2))).transpose(1, 2);
  scores = round(round(scores.add(rows.unsqueeze(-1))).add(columns.unsqueeze(-2)));
  const at::Tensor p = round(at::softmax(scores.view({2, 36, 36}), -1));
  const at::Tensor expected = round(at::matmul(p, wide(x.v))).view(x.q.sizes());
  CHECK(relative_l2(relative_attention(x.q, x.k, x.v, x.rel_h, x.rel_w), expected) < 5e-4);
}

}  // namespace
