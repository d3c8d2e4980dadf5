#include "lisa/nn/causal_attention.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <rapidcheck.h>

#include <cmath>
#include <cstdint>
#include <limits>
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

/// Widths that the CPU's kernel takes, around the edges of its tiles: 6 and 48 rows, 64 keys or columns, 384 rows in
/// turn, 512 values in fp32 and 1024 in bf16.
const std::vector<Case> kernel_cases = {
    {2, 2, 2, 2, 16},     {2, 1, 7, 7, 48},      {4, 2, 47, 63, 64},   {1, 1, 48, 64, 80},    {3, 1, 49, 65, 112},
    {4, 2, 99, 316, 128}, {1, 1, 3, 200, 256},   {2, 1, 384, 384, 32}, {1, 1, 385, 400, 128}, {1, 1, 60, 511, 64},
    {1, 1, 5, 512, 16},   {1, 1, 130, 1023, 64}, {1, 1, 2, 1024, 128}, {2, 1, 700, 1100, 64}, {1, 1, 90, 2101, 96}};

/// Steps of generation, for which there is a kernel of its own: fours of keys and pairs of values with every rest, and
/// widths that are no multiple of its registers.
const std::vector<Case> single_rows = {{2, 2, 1, 1, 16},   {2, 1, 1, 2, 48},    {4, 2, 1, 3, 64},
                                       {1, 1, 1, 4, 80},   {3, 3, 1, 15, 112},  {4, 2, 1, 16, 128},
                                       {1, 1, 1, 17, 256}, {2, 2, 1, 64, 144},  {8, 2, 1, 65, 128},
                                       {2, 1, 1, 316, 96}, {1, 1, 1, 317, 208}, {1, 1, 1, 2049, 32}};

}  // namespace

TEST_CASE("causal attention equals its definition in fp32") {
  for (const Case& c : cases) compare(c, at::kFloat, 2e-6);
}

TEST_CASE("causal attention in bf16 stays within the rounding of scores and weights") {
  for (const Case& c : cases) compare(c, at::kBFloat16, 1.2e-2);
}

TEST_CASE("causal attention equals its definition around the edges of tiles") {
  for (const Case& c : kernel_cases) compare(c, at::kFloat, 2e-6);
  for (const Case& c : kernel_cases) compare(c, at::kBFloat16, 1.2e-2);
}

TEST_CASE("causal attention of a single row equals its definition") {
  for (const Case& c : single_rows) compare(c, at::kFloat, 2e-6);
  for (const Case& c : single_rows) compare(c, at::kBFloat16, 1.2e-2);
}

TEST_CASE("a single row attends as it does as the last one of many") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16})
    for (const dim keys : {5, 64, 201}) {
      const at::Tensor q = test::random_tensor({4, 5, 64}, 1, dtype), k = test::random_tensor({2, keys, 64}, 2, dtype),
                       v = test::random_tensor({2, keys, 64}, 3, dtype);
      const at::Tensor last = causal_attention(q, k, v).narrow(1, 4, 1);
      CHECK(test::relative_l2(causal_attention(q.narrow(1, 4, 1), k, v), last) < (dtype == at::kFloat ? 1e-6 : 4e-3));
    }
}

TEST_CASE("NaN and infinities reach a single row's result") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor q = test::random_tensor({2, 1, 64}, 1, dtype), k = test::random_tensor({2, 9, 64}, 2, dtype);
    const at::Tensor v = test::random_tensor({2, 9, 64}, 3, dtype);
    const at::Tensor key = k.clone(), value = v.clone();
    key[1][8][3] = nan;
    value[0][8][5] = infinity;
    const at::Tensor of_key = causal_attention(q, key, v).isnan(), of_value = causal_attention(q, k, value);
    CHECK(of_key[1].all().item<bool>());
    CHECK_FALSE(of_key[0].any().item<bool>());
    CHECK(of_value.isinf().sum().item<std::int64_t>() == 1);
    CHECK(of_value[0][0][5].isinf().item<bool>());
  }
}

TEST_CASE("causal attention takes queries and keys as layers leave them, and gives heads side by side") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor rows = test::random_tensor({100, 4, 64}, 1, dtype),
                     other = test::random_tensor({130, 2, 64}, 2, dtype);
    const at::Tensor q = rows.transpose(0, 1), k = other.transpose(0, 1);
    const at::Tensor store = test::random_tensor({2, 200, 64}, 3, dtype), v = store.narrow(1, 50, 130);
    const at::Tensor found = causal_attention(q, k, v);
    CHECK(at::equal(found, causal_attention(q.contiguous(), k.contiguous(), v.contiguous())));
    CHECK(test::relative_l2(found, attention(q, k, v)) < (dtype == at::kFloat ? 2e-6 : 1.2e-2));
  }
}

TEST_CASE("causal attention does not depend on the number of threads") {
  const int threads = at::get_num_threads();
  const at::Tensor q = test::random_tensor({3, 800, 64}, 1, at::kBFloat16);
  const at::Tensor k = test::random_tensor({3, 820, 64}, 2, at::kBFloat16),
                   v = test::random_tensor({3, 820, 64}, 3, at::kBFloat16);
  at::set_num_threads(1);
  const at::Tensor alone = causal_attention(q, k, v);
  at::set_num_threads(4);
  CHECK(at::equal(causal_attention(q, k, v), alone));
  at::set_num_threads(threads);
}

TEST_CASE("a query that is no number makes its own row none, and no other") {
  const at::Tensor q = test::random_tensor({2, 70, 64}, 1), k = test::random_tensor({2, 90, 64}, 2);
  q[1][33][5] = std::numeric_limits<double>::quiet_NaN();
  const at::Tensor y = causal_attention(q, k, test::random_tensor({2, 90, 64}, 3));
  const at::Tensor none = y.isnan().any(-1);
  CHECK(none[1][33].item<bool>());
  CHECK(none.sum().item<std::int64_t>() == 1);
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
  const at::Tensor wide = test::random_tensor({2, 30, 64}, 1).mul(200);
  CHECK(causal_attention(wide, wide, wide).isfinite().all().item<bool>());
}

TEST_CASE("a row does not depend on keys behind it") {
  CHECK(rc::check([] {
    const dim kv_heads = *rc::gen::inRange(1, 4), group = *rc::gen::inRange(1, 4), rows = *rc::gen::inRange(2, 9);
    const dim past = *rc::gen::inRange(0, 6), width = *rc::gen::element(1, 8) * 2 * *rc::gen::inRange(1, 9);
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
