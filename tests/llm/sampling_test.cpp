#include "lisa/llm/sampling.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

at::Tensor row(const std::vector<float>& logits) { return at::tensor(logits, at::kFloat); }

std::int64_t greedy(const std::vector<float>& logits) { return Sampler(SamplingOptions{}).sample(row(logits)); }

/// How often each token is drawn in `draws` draws.
std::vector<double> shares(const std::vector<float>& logits, const SamplingOptions& options, int draws = 20000) {
  Sampler sampler(options);
  std::vector<double> share(logits.size());
  for (int i = 0; i < draws; ++i)
    share[static_cast<std::size_t>(sampler.sample(row(logits)))] += 1.0 / static_cast<double>(draws);
  return share;
}

std::string message_of(const SamplingOptions& options) {
  try {
    validate(options);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("greedy takes the largest logit and the lowest id among equals") {
  CHECK(greedy({1, 5, 3}) == 1);
  CHECK(greedy({1, 5, 3, 5, 5}) == 1);
  CHECK(greedy({-7}) == 0);
  CHECK(greedy({-infinity, -3, -infinity}) == 1);
  CHECK(Sampler(SamplingOptions{}).sample(at::tensor(std::vector<float>{0, 2, 9, 1}, at::kFloat).to(at::kBFloat16)) ==
        2);
  const at::Tensor strided = at::tensor(std::vector<float>{0, 9, 1, 9, 2, 9}, at::kFloat).view({3, 2}).select(1, 0);
  CHECK(Sampler(SamplingOptions{}).sample(strided) == 2);
}

TEST_CASE("NaN is never chosen") {
  CHECK(greedy({not_a_number, 1, 2}) == 2);
  CHECK(greedy({1, not_a_number, 0}) == 0);
  CHECK(greedy({1, 2, not_a_number}) == 1);
  const auto share = shares({not_a_number, 1, not_a_number, 1}, {.temperature = 1}, 200);
  CHECK(share[0] + share[2] == 0);
}

TEST_CASE("logits without a finite largest value are refused") {
  const std::vector<std::vector<float>> broken{
      {not_a_number, not_a_number}, {-infinity, -infinity}, {not_a_number, -infinity}, {0, infinity}};
  for (const double temperature : {0.0, 1.0})
    for (const std::vector<float>& logits : broken)
      CHECK_THROWS_AS(static_cast<void>(Sampler({.temperature = temperature}).sample(row(logits))), InputError);
}

TEST_CASE("drawn tokens follow the softmax at the temperature") {
  const std::vector<float> logits{1, 0, 2, -1};
  for (const double temperature : {0.5, 1.0, 3.0}) {
    CAPTURE(temperature);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit / temperature);
    const auto share = shares(logits, {.temperature = temperature, .seed = 3});
    for (std::size_t i = 0; i < logits.size(); ++i)
      CHECK(share[i] == doctest::Approx(std::exp(logits[i] / temperature) / sum).scale(1).epsilon(0.015));
  }
}

TEST_CASE("top_k keeps the most probable tokens, the lower id among equals") {
  const auto share = shares({0, 1, 1, 1, -2}, {.temperature = 1, .top_k = 2}, 4000);
  CHECK(share[1] + share[2] == doctest::Approx(1));
  CHECK(share[1] == doctest::Approx(0.5).epsilon(0.1));
  CHECK(shares({0, 3, 1}, {.temperature = 5, .top_k = 1}, 100)[1] == doctest::Approx(1));
  CHECK(shares({0, 0}, {.temperature = 1, .top_k = 9}, 2000)[0] == doctest::Approx(0.5).epsilon(0.1));
}

TEST_CASE("top_p keeps the smallest set that reaches the sum") {
  // Probabilities 0.5, 0.3, 0.2.
  const std::vector<float> logits{std::log(0.3F), std::log(0.5F), std::log(0.2F)};
  CHECK(shares(logits, {.temperature = 1, .top_p = 0.45}, 300)[1] == doctest::Approx(1));
  const auto two = shares(logits, {.temperature = 1, .top_p = 0.7});
  CHECK(two[2] == 0);
  CHECK(two[1] == doctest::Approx(0.625).epsilon(0.03));
  CHECK(shares(logits, {.temperature = 1, .top_p = 1})[2] == doctest::Approx(0.2).epsilon(0.06));
  CHECK(shares(logits, {.temperature = 1, .top_p = 1e-9}, 100)[1] == doctest::Approx(1));
}

TEST_CASE("equal seeds draw equal tokens, other seeds other ones") {
  const at::Tensor logits = at::zeros({100});
  const auto drawn = [&](std::uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<std::int64_t> tokens;
    for (int i = 0; i < 20; ++i) tokens.push_back(sampler.sample(logits));
    return tokens;
  };
  CHECK(drawn(7) == drawn(7));
  CHECK(drawn(7) != drawn(8));
}

TEST_CASE("a tiny temperature is greedy") {
  CHECK(rc::check([] {
    const auto values = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(-50, 50)));
    const std::vector<float> logits(values.begin(), values.end());
    const std::int64_t token = Sampler({.temperature = 1e-9, .seed = 1}).sample(row(logits));
    RC_ASSERT(logits[static_cast<std::size_t>(token)] == logits[static_cast<std::size_t>(greedy(logits))]);
  }));
}

TEST_CASE("a drawn token is one of the top_k and has a chance") {
  CHECK(rc::check([] {
    const auto values = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(-9, 9)));
    const std::vector<float> logits(values.begin(), values.end());
    const dim k = *rc::gen::inRange<dim>(1, 6);
    const auto id = static_cast<std::size_t>(
        Sampler({.temperature = 2, .top_p = 0.9, .top_k = k, .seed = *rc::gen::arbitrary<std::uint64_t>()})
            .sample(row(logits)));
    const auto above = std::count_if(logits.begin(), logits.end(), [&](float other) { return other > logits[id]; });
    RC_ASSERT(above < k);
  }));
}

TEST_CASE("every wrong option is named") {
  CHECK(message_of({}) == "");
  CHECK(message_of({.temperature = 1, .top_p = 1, .top_k = 3}) == "");
  const std::string all = message_of({.temperature = -1, .top_p = 0, .top_k = -2});
  for (const std::string part : {"3 wrong options", "temperature: found -1", "top_p: found 0", "top_k: found -2"})
    CHECK(all.find(part) != std::string::npos);
  for (const double wrong : {std::nan(""), HUGE_VAL}) CHECK(message_of({.temperature = wrong}) != "");
  for (const double wrong : {std::nan(""), 1.001, -0.1}) CHECK(message_of({.top_p = wrong}) != "");
  CHECK_THROWS_AS(Sampler({.top_k = -1}), InputError);
}
