#include "lisa/aten/operators.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/upsample_linear1d.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <utility>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

/// Equal in values, extents, dtype and strides.
bool same(const at::Tensor& a, const at::Tensor& b) {
  return a.dtype() == b.dtype() && a.sizes() == b.sizes() && a.strides() == b.strides() && a.equal(b);
}

}  // namespace

TEST_CASE("factories make what ATen's own make") {
  const auto integers = at::TensorOptions(at::kLong);
  CHECK(same(aten::zeros({2, 3}), at::zeros({2, 3})));
  CHECK(same(aten::zeros({0, 3}, integers), at::zeros({0, 3}, integers)));
  CHECK(same(aten::ones({4}, at::kBool), at::ones({4}, at::kBool)));
  CHECK(same(aten::full({2, 2}, -1.5, at::kBFloat16), at::full({2, 2}, -1.5, at::kBFloat16)));
  CHECK(same(aten::arange(5), at::arange(5)));
  CHECK(same(aten::arange(5.5, at::kFloat), at::arange(5.5, at::kFloat)));
  CHECK(same(aten::arange(2, 7, integers), at::arange(2, 7, integers)));
  CHECK(same(aten::arange(1, 8, 3, at::kDouble), at::arange(1, 8, 3, at::kDouble)));
  CHECK(same(aten::eye(3, at::kHalf), at::eye(3, at::kHalf)));
}

TEST_CASE("memory left unset has the extents, dtype and layout asked for") {
  const at::Tensor plain = aten::empty({2, 0, 3}, at::kByte);
  CHECK(plain.sizes() == at::IntArrayRef({2, 0, 3}));
  CHECK((plain.scalar_type() == at::kByte));
  const at::Tensor channels_last =
      aten::empty({2, 3, 4, 5}, at::TensorOptions().memory_format(at::MemoryFormat::ChannelsLast));
  CHECK((channels_last.scalar_type() == at::kFloat));
  CHECK(channels_last.is_contiguous(at::MemoryFormat::ChannelsLast));
  const at::Tensor like = at::rand({3, 4}, at::kDouble).t();
  CHECK(same(aten::zeros_like(like), at::zeros_like(like)));
  const at::Tensor unset = aten::empty_like(like);
  CHECK(unset.sizes() == like.sizes());
  CHECK(unset.strides() == like.strides());
  CHECK((unset.scalar_type() == at::kDouble));
}

TEST_CASE("tensors are joined and padded as by ATen") {
  const at::Tensor a = at::rand({2, 3}), b = at::rand({2, 3}), c = at::rand({2, 1});
  CHECK(same(aten::cat({a, b}), at::cat({a, b})));
  CHECK(same(aten::cat({a, c}, 1), at::cat({a, c}, 1)));
  CHECK(same(aten::cat(std::vector<at::Tensor>{a, b}, -1), at::cat({a, b}, -1)));
  CHECK(same(aten::stack({a, b}), at::stack({a, b})));
  CHECK(same(aten::stack({a, b}, -1), at::stack({a, b}, -1)));
  CHECK(same(aten::constant_pad_nd(a, {1, 2, 0, 1}), at::constant_pad_nd(a, {1, 2, 0, 1})));
  CHECK(same(aten::constant_pad_nd(a, {3, 0}, 7), at::constant_pad_nd(a, {3, 0}, 7)));
  CHECK_THROWS_AS((void)aten::cat({a, c}), c10::Error);
}

TEST_CASE("maps give what ATen's give") {
  const at::Tensor x = at::rand({2, 5}).sub(0.5), weight = at::rand({3, 5}), bias = at::rand({3});
  CHECK(same(aten::linear(x, weight), at::linear(x, weight)));
  CHECK(same(aten::linear(x, weight, bias), at::linear(x, weight, bias)));
  const at::Tensor picture = at::rand({1, 2, 8, 9}), kernel = at::rand({4, 2, 3, 3}), shift = at::rand({4});
  CHECK(same(aten::conv2d(picture, kernel, {}, 1, 1), at::conv2d(picture, kernel, {}, 1, 1)));
  CHECK(same(aten::conv2d(picture, kernel, shift, 3), at::conv2d(picture, kernel, shift, 3)));
  const at::Tensor ids = at::arange(2, at::kLong);
  CHECK(same(aten::embedding(weight, ids), at::embedding(weight, ids)));
  const at::Tensor scale = at::rand({5}), offset = at::rand({5});
  CHECK(same(aten::layer_norm(x, {5}, scale, offset, 1e-3), at::layer_norm(x, {5}, scale, offset, 1e-3)));
  CHECK(same(aten::gelu(x), at::gelu(x)));
  CHECK(same(aten::silu(x), at::silu(x)));
  CHECK(same(aten::pow(3.0, x), at::pow(3.0, x)));
  at::Tensor activated = x.clone();
  CHECK(&aten::gelu_(activated) == &activated);
  CHECK(same(activated, at::gelu(x)));
  at::Tensor in_place = x.clone();
  CHECK(&aten::silu_(in_place) == &in_place);
  CHECK(same(in_place, at::silu(x)));
  at::Tensor above = at::zeros({2, 5}, at::kBool);
  CHECK(&aten::gt_out(above, x, 0.1) == &above);
  CHECK(same(above, x.gt(0.1)));
}

TEST_CASE("interpolations give what ATen's give, with either way of aligning") {
  const at::Tensor line = at::rand({1, 3, 7}), picture = at::rand({2, 1, 4, 6});
  for (const bool align : {false, true}) {
    CHECK(same(aten::upsample_linear1d(line, {11}, align), at::upsample_linear1d(line, {11}, align)));
    const at::Tensor expected = at::upsample_bilinear2d(picture, {9, 5}, align);
    CHECK(same(aten::upsample_bilinear2d(picture, {9, 5}, align), expected));
    at::Tensor out = at::zeros({2, 1, 9, 5});
    CHECK(&aten::upsample_bilinear2d_out(out, picture, {9, 5}, align) == &out);
    CHECK(same(out, expected));
  }
}
