#include "lisa/nn/quantised_linear.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/matmul.h>

#include <cmath>
#include <optional>
#include <vector>

#include "lisa/nn/linear_operator.hpp"
#include "lisa/nn/lora_linear.hpp"
#include "tests/quant/random_matrix.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

at::Tensor dequantised(const at::Tensor& weight, dim in) {
  return detail::dequantised_rows(weight, in, 0, weight.size(0));
}

at::Tensor exact(const at::Tensor& x, const at::Tensor& weight) {
  return at::matmul(x.to(at::kDouble), dequantised(weight, x.size(-1)).to(at::kDouble).t());
}

}  // namespace

TEST_CASE("few rows and many give the product with the dequantised weights, in every dtype and with a bias") {
  for (const WeightFormat format : test::weight_formats)
    for (const dim in : {128, 344, 640, 1152}) {
      CAPTURE(in);
      const at::Tensor weight = quantised(test::random_tensor({77, in}, 1).mul(0.02), format);
      const at::Tensor bias = test::random_tensor({77}, 2);
      for (const dim rows : {1, 2, 5, 8, 9, 40}) {
        CAPTURE(rows);
        const at::Tensor x = test::random_tensor({rows, in}, 3);
        const at::Tensor expected = exact(x, weight);
        // The inputs are rounded to 8 bits.
        const double bound = 1.2e-2;
        CHECK(test::relative_l2(apply_linear(x, weight), expected) < bound);
        CHECK(test::relative_l2(apply_linear(x, weight, bias), expected.add(bias)) < bound);
        // Where a gradient is wanted nothing is rounded but the sum.
        const at::Tensor recorded = apply_linear(x.detach().requires_grad_(), weight, bias).detach();
        CHECK(test::relative_l2(recorded, expected.add(bias)) < 1e-6);
        const at::Tensor narrow = apply_linear(x.to(at::kBFloat16), weight, bias.to(at::kBFloat16));
        CHECK((narrow.scalar_type() == at::kBFloat16));
        CHECK(test::relative_l2(narrow, expected.add(bias)) < 1.5e-2);
      }
    }
}

TEST_CASE("restored weights of many parts are put together in order") {
  // 2^21 weights are taken at a time, 2048 columns here, where a gradient is wanted.
  const at::Tensor weight = quantised(test::random_tensor({4100, 1024}, 4), WeightFormat::int4_group32);
  const at::Tensor x = test::random_tensor({9, 1024}, 5).requires_grad_();
  CHECK(test::relative_l2(apply_linear(x, weight).detach(), exact(x.detach(), weight)) < 1e-6);
}

TEST_CASE("rows of many parts are put together in order, alike on any number of threads") {
  // 384 rows at most are computed together: 1, 2 and 3 parts, the last two of sizes that differ.
  const int threads = at::get_num_threads();
  const at::Tensor weight = quantised(test::random_tensor({70, 320}, 22), WeightFormat::int8_row);
  const at::Tensor bias = test::random_tensor({70}, 23);
  for (const dim rows : {384, 385, 1001}) {
    CAPTURE(rows);
    const at::Tensor x = test::random_tensor({rows, 320}, 24).to(at::kBFloat16);
    at::set_num_threads(1);
    const at::Tensor one = apply_linear(x, weight, bias);
    at::set_num_threads(3);
    CHECK(test::largest_difference(apply_linear(x, weight, bias), one) == 0);
    CHECK(test::relative_l2(one, exact(x, weight).add(bias)) < 1.5e-2);
    for (const dim row : {dim{0}, rows / 2, rows - 9})
      CHECK(test::largest_difference(apply_linear(x.narrow(0, row, 9).contiguous(), weight, bias),
                                     one.narrow(0, row, 9)) == 0);
  }
  at::set_num_threads(threads);
}

TEST_CASE("a prompt's rows agree with the same rows one by one") {
  for (const WeightFormat format : test::weight_formats) {
    const at::Tensor weight = quantised(test::random_tensor({200, 640}, 20), format);
    const at::Tensor x = test::random_tensor({37, 640}, 21), together = apply_linear(x, weight);
    for (const dim row : {0, 17, 36})
      CHECK(test::relative_l2(apply_linear(x.narrow(0, row, 1), weight), together.narrow(0, row, 1)) < 2e-2);
  }
}

TEST_CASE("inputs of any rank and layout, and none at all") {
  const at::Tensor weight = quantised(test::random_tensor({6, 128}, 6), WeightFormat::int4_group32);
  const at::Tensor x = test::random_tensor({2, 3, 128}, 7);
  const at::Tensor y = apply_linear(x, weight);
  CHECK((shape_of(y) == Shape{2, 3, 6}));
  CHECK(test::largest_difference(apply_linear(x.transpose(0, 1).contiguous().transpose(0, 1), weight), y) == 0);
  CHECK((shape_of(apply_linear(x.narrow(0, 0, 0), weight)) == Shape{0, 3, 6}));
}

TEST_CASE("results do not depend on the number of threads") {
  const int threads = at::get_num_threads();
  const at::Tensor weight = quantised(test::random_tensor({3000, 512}, 8), WeightFormat::int4_group32);
  const at::Tensor x = test::random_tensor({3, 512}, 9);
  at::set_num_threads(1);
  const at::Tensor one = apply_linear(x, weight);
  at::set_num_threads(3);
  CHECK(test::largest_difference(apply_linear(x, weight), one) == 0);
  at::set_num_threads(threads);
}

TEST_CASE("a gradient with respect to the inputs goes through the dequantised weights") {
  for (const WeightFormat format : test::weight_formats) {
    CAPTURE(to_string(format));
    const at::Tensor weight = quantised(test::random_tensor({5, 160}, 10), format);
    at::Tensor x = test::random_tensor({2, 160}, 11).requires_grad_();
    apply_linear(x, weight).sum().backward();
    CHECK(test::relative_l2(x.grad(), dequantised(weight, 160).sum(0).expand({2, 160})) < 1e-6);
  }
}

TEST_CASE("an adapter stays beside quantised weights when others are merged") {
  constexpr LoraConfig lora{.rank = 2};
  for (const WeightFormat format : test::weight_formats) {
    CAPTURE(to_string(format));
    LoraLinear<128, 6, lora, true> layer;
    layer.base.weight = quantised(test::random_tensor({6, 128}, 12), format);
    layer.lora_A = test::random_tensor({2, 128}, 13);
    layer.lora_B = test::random_tensor({6, 2}, 14);
    const at::Tensor x = test::random_tensor({12, 128}, 15);
    const at::Tensor beside = layer.forward(x);
    layer.merge_adapter();
    CHECK(layer.lora_A.defined());
    CHECK(test::largest_difference(layer.forward(x), beside) == 0);
    const at::Tensor update = at::matmul(at::matmul(x, layer.lora_A.t()), layer.lora_B.t());
    CHECK(test::relative_l2(beside, apply_linear(x, layer.base.weight).add(update, scaling(lora))) < 1e-5);
  }
}

TEST_CASE("an adapter's gradients beside quantised weights are those beside the values that these stand for") {
  constexpr LoraConfig lora{.rank = 2};
  for (const WeightFormat format : test::weight_formats) {
    CAPTURE(to_string(format));
    LoraLinear<128, 6, lora, true> narrow, restored;
    narrow.base.weight = quantised(test::random_tensor({6, 128}, 12), format);
    restored.base.weight = dequantised(narrow.base.weight, 128);
    const at::Tensor x = test::random_tensor({12, 128}, 15), weights = test::random_tensor({12, 6}, 16);
    for (auto* layer : {&narrow, &restored}) {
      layer->lora_A = test::random_tensor({2, 128}, 13).requires_grad_();
      layer->lora_B = test::random_tensor({6, 2}, 14).requires_grad_();
      layer->forward(x.detach().requires_grad_()).mul(weights).sum().backward();
    }
    CHECK(test::relative_l2(narrow.lora_A.grad(), restored.lora_A.grad()) < 1e-6);
    CHECK(test::relative_l2(narrow.lora_B.grad(), restored.lora_B.grad()) < 1e-6);
  }
}

TEST_CASE("bytes in no known format and rows too short for a format of their own are refused in words") {
  const at::Tensor x = test::random_tensor({1, 128}, 16);
  const at::Tensor weight = quantised(test::random_tensor({6, 128}, 17), WeightFormat::int8_row);
  CHECK_THROWS_WITH_AS((void)apply_linear(x, weight.narrow(1, 0, 131)),
                       "quantised weight: found 131 bytes a row, expected a contiguous matrix in a known format for "
                       "128 inputs",
                       InputError);
  CHECK_THROWS_AS((void)apply_linear(x.narrow(1, 0, 64), weight), InputError);
  CHECK_THROWS_AS((void)apply_linear(x, weight.t().contiguous().t()), InputError);
  CHECK_THROWS_WITH_AS((void)quantised(test::random_tensor({2, 32}, 19).div(0), WeightFormat::int8_row),
                       "weights: found NaN or an infinite value, expected finite weights to quantise", InputError);
  CHECK_THROWS_WITH_AS((void)quantised(test::random_tensor({2, 14}, 18), WeightFormat::int4_group32),
                       "weights: found rows of 14 for int4, expected longer ones: these take as many bytes in another "
                       "format",
                       InputError);
}
