#include "lisa/nn/linear.hpp"

#include <cmath>
#include <map>
#include <string>

#include "lisa/nn/layer_norm.hpp"
#include "lisa/nn/lora_linear.hpp"
#include "lisa/nn/mlp.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

at::Tensor product(const at::Tensor& x, const at::Tensor& weight) {
  return at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t());
}

template <Module M>
std::map<std::string, Shape> parameters_of(const M& module) {
  std::map<std::string, Shape> found;
  visit_parameters(module, "p",
                   [&](const std::string& name, const at::Tensor&, const Shape& shape) { found[name] = shape; });
  return found;
}

}  // namespace

TEST_CASE("Linear computes x W^T + b and names its tensors") {
  Linear<6, 4> with;
  Linear<6, 4, Bias::no> without;
  test::fill_parameters(with, 1);
  test::fill_parameters(without, 2);
  const at::Tensor x = test::random_tensor({2, 3, 6}, 3);
  CHECK(test::relative_l2(with.forward(x), product(x, with.weight).add(with.bias)) < 1e-6);
  CHECK(test::relative_l2(without.forward(x), product(x, without.weight)) < 1e-6);
  CHECK(parameters_of(with) == std::map<std::string, Shape>{{"p.weight", {4, 6}}, {"p.bias", {4}}});
  CHECK(parameters_of(without) == std::map<std::string, Shape>{{"p.weight", {4, 6}}});
  CHECK((decltype(with)::parameter_count == 28));
  CHECK((decltype(without)::parameter_count == 24));
}

TEST_CASE("LayerNorm centres, scales and shifts") {
  LayerNorm<40> norm{.eps = 1e-6};
  test::fill_parameters(norm, 4);
  const at::Tensor x = test::random_tensor({5, 40}, 5).mul(2).add(7);
  const at::Tensor wide = x.to(at::kDouble), centred = wide.sub(wide.mean(-1, true));
  const at::Tensor expected =
      centred.div(centred.square().mean(-1, true).add(1e-6).sqrt()).mul(norm.weight).add(norm.bias);
  CHECK(test::largest_difference(norm.forward(x), expected) < 1e-5);
}

TEST_CASE("an adapter adds its scaled low-rank product, merged or not") {
  constexpr LoraConfig config{.rank = 3, .alpha = 12};
  LoraLinear<10, 7, config, true> layer;
  test::fill_parameters(layer, 6);
  const at::Tensor x = test::random_tensor({4, 10}, 7);
  CHECK(test::relative_l2(layer.forward(x), product(x, layer.base.weight)) < 1e-6);

  std::map<std::string, Shape> names;
  layer.for_each_adapter("q", [&](const std::string& name, at::Tensor& value, const Shape& shape) {
    names[name] = shape;
    value = test::random_tensor(shape, 8 + names.size());
  });
  CHECK(names == std::map<std::string, Shape>{{"q.lora_A.weight", {3, 10}}, {"q.lora_B.weight", {7, 3}}});
  const at::Tensor expected =
      product(x, layer.base.weight).add(product(product(x, layer.lora_A), layer.lora_B), 12.0 / 3.0);
  CHECK(test::relative_l2(layer.forward(x), expected) < 1e-6);

  const at::Tensor before = layer.base.weight.clone(), shared = layer.base.weight;
  layer.merge_adapter();
  CHECK_FALSE(layer.lora_A.defined());
  CHECK_FALSE(layer.lora_B.defined());
  CHECK(test::relative_l2(layer.forward(x), expected) < 1e-6);
  CHECK(at::equal(shared, before));  // the loaded weight, a mapped file's page, is not written to

  const at::Tensor merged = layer.base.weight;
  layer.merge_adapter();
  CHECK(at::equal(layer.base.weight, merged));
}

TEST_CASE("merging into bf16 rounds once") {
  constexpr LoraConfig config{.rank = 2, .alpha = 2};
  LoraLinear<16, 8, config, true> layer;
  test::fill_parameters(layer, 9, at::kBFloat16);
  layer.lora_A = test::random_tensor({2, 16}, 10, at::kBFloat16);
  layer.lora_B = test::random_tensor({8, 2}, 11, at::kBFloat16);
  const at::Tensor expected = layer.base.weight.to(at::kFloat)
                                  .add(at::matmul(layer.lora_B.to(at::kFloat), layer.lora_A.to(at::kFloat)))
                                  .to(at::kBFloat16);
  layer.merge_adapter();
  CHECK((layer.base.weight.scalar_type() == at::kBFloat16));
  CHECK(at::equal(layer.base.weight, expected));
}

TEST_CASE("a projection that is not adapted has no adapter tensors") {
  LoraLinear<10, 7, LoraConfig{}, false> layer;
  dim visited = 0;
  layer.for_each_adapter("k", [&](const std::string&, at::Tensor&, const Shape&) { ++visited; });
  CHECK(visited == 0);
  CHECK((decltype(layer)::adapter_parameter_count == 0));
}

TEST_CASE("Mlp names its layers as a Sequential with activations between them") {
  using Names = std::map<std::string, Shape>;
  Mlp<3, 2, MlpConfig{.hidden = 5, .layers = 1}, Activation::gelu> one;
  Mlp<3, 2, MlpConfig{.hidden = 5, .layers = 2}, Activation::relu> two;
  Mlp<3, 2, MlpConfig{.hidden = 5, .layers = 4}, Activation::relu> four;
  CHECK(parameters_of(one) == Names{{"p.0.weight", {2, 3}}, {"p.0.bias", {2}}});
  CHECK(parameters_of(two) ==
        Names{{"p.0.weight", {5, 3}}, {"p.0.bias", {5}}, {"p.2.weight", {2, 5}}, {"p.2.bias", {2}}});
  Names wanted = parameters_of(two);
  wanted["p.2.weight"] = wanted["p.4.weight"] = {5, 5};
  wanted["p.2.bias"] = wanted["p.4.bias"] = {5};
  wanted["p.6.weight"] = {2, 5};
  wanted["p.6.bias"] = {2};
  CHECK(parameters_of(four) == wanted);
}

TEST_CASE("Mlp applies its activation between layers and not after the last") {
  Mlp<3, 2, MlpConfig{.hidden = 5, .layers = 3}, Activation::relu> relu;
  test::fill_parameters(relu, 12);
  const at::Tensor x = test::random_tensor({9, 3}, 13);
  const auto layer = [](const auto& linear, const at::Tensor& in) {
    return product(in, linear.weight).add(linear.bias);
  };
  const at::Tensor first = layer(relu.first, x).clamp_min(0), second = layer(relu.middle[0], first).clamp_min(0);
  const at::Tensor expected = layer(relu.last, second);
  CHECK((expected.min().item<double>() < 0));
  CHECK(test::relative_l2(relu.forward(x), expected) < 1e-6);

  Mlp<3, 2, MlpConfig{.hidden = 5, .layers = 2}, Activation::gelu> gelu;
  test::fill_parameters(gelu, 14);
  const at::Tensor inner = layer(gelu.first, x);
  const at::Tensor exact = inner.mul(0.5).mul(inner.div(std::sqrt(2.0)).erf().add(1));
  CHECK(test::relative_l2(gelu.forward(x), layer(gelu.last, exact)) < 1e-6);
}
