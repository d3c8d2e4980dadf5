#include "lisa/train/adamw.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "lisa/train/gradients.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

using namespace lisa;

namespace {

TrainedParameter parameter(const std::string& name, const Shape& shape, std::uint64_t seed,
                           at::ScalarType dtype = at::kFloat) {
  return {name, test::random_tensor(shape, seed).to(dtype).requires_grad_(true), Part::llm};
}

at::Tensor gradient(const Shape& shape, std::uint64_t seed) { return test::random_tensor(shape, seed); }

/// AdamW as its paper's algorithm 2 states it, in fp64.
struct Reference {
  explicit Reference(const at::Tensor& start) : value(start.detach().to(at::kDouble)) {}

  void step(const at::Tensor& g, double rate, const AdamWOptions& o) {
    const at::Tensor wide = g.to(at::kDouble);
    ++steps;
    m = m.defined() ? m.mul(o.beta1).add(wide, 1 - o.beta1) : wide.mul(1 - o.beta1);
    v = v.defined() ? v.mul(o.beta2).add(wide.square(), 1 - o.beta2) : wide.square().mul(1 - o.beta2);
    const at::Tensor m_hat = m.div(1 - std::pow(o.beta1, steps)), v_hat = v.div(1 - std::pow(o.beta2, steps));
    value = value.sub(m_hat.div(v_hat.sqrt().add(o.eps)).mul(rate)).sub(value, rate * o.weight_decay);
  }

  at::Tensor value, m, v;
  double steps = 0;
};

}  // namespace

TEST_CASE("steps are those of the algorithm") {
  const AdamWOptions options{.weight_decay = 0.1};
  const TrainedParameter weight = parameter("w", {5, 4}, 1);
  Reference reference(weight.value);
  AdamW optimiser({weight}, options);
  for (std::uint64_t i = 0; i < 6; ++i) {
    const at::Tensor g = gradient({5, 4}, 10 + i);
    optimiser.step({g}, 0.01 * static_cast<double>(i));
    reference.step(g, 0.01 * static_cast<double>(i), options);
  }
  CHECK(test::relative_l2(weight.value.detach(), reference.value) < 1e-6);
}

TEST_CASE("a parameter without gradient stays, and counts its own steps") {
  const TrainedParameter a = parameter("a", {3}, 1), b = parameter("b", {3}, 2);
  Reference reference(b.value);
  AdamW optimiser({a, b});
  const at::Tensor before = a.value.detach().clone();
  for (std::uint64_t i = 0; i < 3; ++i) {
    const at::Tensor g = gradient({3}, 10 + i);
    optimiser.step({at::Tensor(), i == 1 ? at::Tensor() : g}, 0.1);
    if (i != 1) reference.step(g, 0.1, {});
  }
  CHECK(a.value.equal(before));
  CHECK(test::relative_l2(b.value.detach(), reference.value) < 1e-6);
}

TEST_CASE("bf16 parameters collect steps that are too small for them") {
  const TrainedParameter weight = parameter("w", {8}, 1, at::kBFloat16);
  const at::Tensor before = weight.value.detach().to(at::kFloat);
  AdamW optimiser({weight});
  const at::Tensor up = at::full({8}, -1.0);
  for (int i = 0; i < 200; ++i) optimiser.step({up}, 1e-4);  // 1e-4 a step, below bf16's spacing
  CHECK(test::largest_difference(weight.value.detach().to(at::kFloat).sub(before), at::full({8}, 0.02)) < 0.008);
  CHECK((weight.value.scalar_type() == at::kBFloat16));
}

TEST_CASE("a restored optimiser goes on bit for bit") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto run = [&](std::uint64_t steps, const std::vector<TrainedParameter>& parameters, AdamW& optimiser,
                         std::uint64_t first) {
      for (std::uint64_t i = first; i < first + steps; ++i)
        optimiser.step({gradient({4, 3}, i), i % 3 == 0 ? at::Tensor() : gradient({5}, 100 + i)}, 0.01);
      return std::vector<at::Tensor>{parameters[0].value.detach().clone(), parameters[1].value.detach().clone()};
    };
    const auto start = [&] {
      return std::vector<TrainedParameter>{parameter("a", {4, 3}, 1, dtype), parameter("b", {5}, 2, dtype)};
    };
    const auto whole_parameters = start();
    AdamW whole(whole_parameters);
    const auto expected = run(7, whole_parameters, whole, 0);

    const auto first_parameters = start();
    AdamW first(first_parameters);
    const auto half = run(4, first_parameters, first, 0);
    std::map<std::string, NamedTensors> saved;
    for (const auto& [group, tensors] : first.state())
      for (const auto& [name, tensor] : tensors) saved[group].emplace_back(name, tensor.clone());
    CHECK(saved.contains("master") == (dtype == at::kBFloat16));

    const std::vector<TrainedParameter> second_parameters{{"a", half[0].clone().requires_grad_(true), Part::llm},
                                                          {"b", half[1].clone().requires_grad_(true), Part::llm}};
    AdamW second(second_parameters);
    second.restore(saved);
    const auto found = run(3, second_parameters, second, 4);
    CHECK(found[0].equal(expected[0]));
    CHECK(found[1].equal(expected[1]));
  }
}

TEST_CASE("a state of other parameters is refused and nothing changes") {
  AdamW optimiser({parameter("a", {4}, 1), parameter("b", {2, 2}, 2)});
  optimiser.step({gradient({4}, 3), gradient({2, 2}, 4)}, 0.1);
  const at::Tensor moment = optimiser.state().at("first_moment")[0].second.clone();
  std::map<std::string, NamedTensors> saved = AdamW({parameter("a", {4}, 1), parameter("c", {2, 2}, 2)}).state();
  saved["second_moment"][0].second = at::zeros({5});
  std::string message;
  try {
    optimiser.restore(saved);
  } catch (const MismatchError& error) {
    message = error.what();
  }
  CHECK(message.find("first_moment: b: missing, expected [2, 2]") != std::string::npos);
  CHECK(message.find("second_moment: a: found [5], expected [4]") != std::string::npos);
  CHECK(optimiser.state().at("first_moment")[0].second.equal(moment));
}

TEST_CASE("gradients of micro-batches are summed in fp32 and taken from the parameters") {
  const std::vector<TrainedParameter> parameters{parameter("a", {3}, 1, at::kBFloat16), parameter("b", {3}, 2),
                                                 parameter("c", {2}, 3)};
  GradientSum sum;
  at::Tensor expected = at::zeros({3});
  for (int i = 0; i < 50; ++i) {
    const at::Tensor part = at::full({3}, 1.0 / 128, at::kBFloat16);
    parameters[0].value.mutable_grad() = part;
    if (i == 7) parameters[1].value.mutable_grad() = at::full({3}, 2.0);
    expected.add_(part.to(at::kFloat));
    sum.take(parameters);
    for (const TrainedParameter& p : parameters) CHECK_FALSE(p.value.grad().defined());
  }
  CHECK(sum.tensors()[0].equal(expected));
  CHECK(sum.tensors()[1].equal(at::full({3}, 2.0)));
  CHECK_FALSE(sum.tensors()[2].defined());
  sum.clear();
  CHECK(sum.tensors().empty());
}

TEST_CASE("clipping scales all gradients together") {
  const std::vector<at::Tensor> gradients{at::full({2}, 3.0), at::Tensor(), at::full({2, 2}, -4.0)};
  const double norm = std::sqrt(2 * 9 + 4 * 16);
  CHECK(gradient_norm(gradients) == doctest::Approx(norm));
  CHECK(clip_gradient_norm(gradients, 100) == doctest::Approx(norm));
  CHECK(gradients[0].equal(at::full({2}, 3.0)));
  CHECK(clip_gradient_norm(gradients, 1) == doctest::Approx(norm));
  CHECK(gradient_norm(gradients) == doctest::Approx(1).epsilon(1e-5));
  CHECK(gradients[2][0][0].item<double>() == doctest::Approx(-4 / norm).epsilon(1e-5));
  CHECK(gradient_norm({at::Tensor()}) == 0);
  CHECK(std::isnan(gradient_norm({at::full({1}, std::numeric_limits<double>::quiet_NaN())})));
}
