#include "lisa/nn/causal_attention.hpp"

#include <rapidcheck.h>

#include <cmath>
#include <vector>

#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

/// softmax(q k / sqrt(width)) v with every loop written out, in double precision.
at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const dim heads = query.size(0), rows = query.size(1), width = query.size(2);
  const dim kv_heads = key.size(0), keys = key.size(1);
  const at::Tensor q = query.to(at::kDouble).contiguous(), k = key.to(at::kDouble).contiguous();
  const at::Tensor v = value.to(at::kDouble).contiguous(), out = at::zeros({heads, rows, width}, at::kDouble);
  const auto at_ = [](const at::Tensor& t, dim a, dim b, dim c) {
    return t.const_data_ptr<double>()[(a * t.size(1) + b) * t.size(2) + c];
  };
  for (dim h = 0; h < heads; ++h)
    for (dim t = 0; t < rows; ++t) {
      const dim group = h / (heads / kv_heads), seen = keys - rows + t + 1;
      std::vector<double> weight;
      double sum = 0;
      for (dim s = 0; s < seen; ++s) {
        double score = 0;
        for (dim i = 0; i < width; ++i) score += at_(q, h, t, i) * at_(k, group, s, i);
        weight.push_back(std::exp(score / std::sqrt(static_cast<double>(width))));
        sum += weight.back();
      }
      for (dim i = 0; i < width; ++i) {
        double mixed = 0;
        for (dim s = 0; s < seen; ++s) mixed += weight[static_cast<std::size_t>(s)] / sum * at_(v, group, s, i);
        out.mutable_data_ptr<double>()[(h * rows + t) * width + i] = mixed;
      }
    }
  return out;
}

struct Case {
  dim heads, kv_heads, rows, keys, width;
};

void compare(const Case& c, at::ScalarType dtype, double bound) {
  CAPTURE(c.heads);
  CAPTURE(c.kv_heads);
  CAPTURE(c.rows);
  CAPTURE(c.keys);
  CAPTURE(c.width);
  const at::Tensor q = test::random_tensor({c.heads, c.rows, c.width}, 1, dtype);
  const at::Tensor k = test::random_tensor({c.kv_heads, c.keys, c.width}, 2, dtype);
  const at::Tensor v = test::random_tensor({c.kv_heads, c.keys, c.width}, 3, dtype);
  const at::Tensor found = causal_attention(q, k, v);
  CHECK((shape_of(found) == Shape{c.heads, c.rows, c.width}));
  CHECK((found.scalar_type() == dtype));
  CHECK(test::relative_l2(found, attention(q, k, v)) < bound);
}

const std::vector<Case> cases = {{4, 4, 6, 6, 16}, {4, 4, 1, 9, 16}, {4, 4, 3, 9, 16}, {6, 2, 5, 11, 24},
                                 {6, 2, 1, 7, 24}, {5, 1, 4, 4, 10}, {1, 1, 1, 1, 2},  {3, 3, 40, 77, 20}};

}  // namespace

TEST_CASE("causal attention equals its definition in fp32") {
  for (const Case& c : cases) compare(c, at::kFloat, 2e-6);
}

TEST_CASE("causal attention in bf16 stays within the rounding of scores and weights") {
  for (const Case& c : cases) compare(c, at::kBFloat16, 1.2e-2);
}

TEST_CASE("causal attention reads views of a larger cache") {
  const at::Tensor q = test::random_tensor({2, 3, 8}, 1).transpose(0, 1).contiguous().transpose(0, 1);
  const at::Tensor store = test::random_tensor({2, 20, 8}, 2);
  const at::Tensor k = store.narrow(1, 0, 9), v = store.narrow(1, 5, 9);
  CHECK(test::relative_l2(causal_attention(q, k, v), attention(q, k, v)) < 2e-6);
}

TEST_CASE("causal attention does not overflow on large scores") {
  const at::Tensor q = test::random_tensor({2, 3, 8}, 1).mul(200), k = test::random_tensor({2, 5, 8}, 2).mul(200);
  const at::Tensor y = causal_attention(q, k, test::random_tensor({2, 5, 8}, 3));
  CHECK(y.isfinite().all().item<bool>());
}

TEST_CASE("a row does not depend on keys behind it") {
  CHECK(rc::check([] {
    const dim kv_heads = *rc::gen::inRange(1, 4), group = *rc::gen::inRange(1, 4), rows = *rc::gen::inRange(2, 9);
    const dim past = *rc::gen::inRange(0, 6), width = 2 * *rc::gen::inRange(1, 9);
    const at::Tensor q = test::random_tensor({kv_heads * group, rows, width}, 1);
    const at::Tensor k = test::random_tensor({kv_heads, past + rows, width}, 2);
    const at::Tensor v = test::random_tensor({kv_heads, past + rows, width}, 3);
    const dim cut = *rc::gen::inRange<dim>(1, rows);  // rows in front of the cut see nothing behind it
    const at::Tensor all = causal_attention(q, k, v);
    const at::Tensor front =
        causal_attention(q.narrow(1, 0, cut), k.narrow(1, 0, past + cut), v.narrow(1, 0, past + cut));
    RC_ASSERT(test::relative_l2(all.narrow(1, 0, cut), front) < 1e-5);
  }));
}
