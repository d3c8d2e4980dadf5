// torch-free
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "causal_attention_gradient_kernels.hpp"
#include "causal_attention_kernels.hpp"
#include "causal_gradient_reference.hpp"
#include "causal_problem.hpp"
#include "launch.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::Bf16;
using lisa::cuda::CausalAttentionGradientArguments;
using lisa::cuda::Fp16;
using lisa::cuda::QueryTerms;
using lisa::cuda::SequenceRows;

namespace {

/// A forward problem and what its gradient needs.
template <class Element, int head_dim>
struct GradientProblem {
  CausalProblem<Element, head_dim> forward;
  Values<Element> out_gradient;
  CausalAttentionGradientArguments<Element> arguments{};

  explicit GradientProblem(const Batch& batch) : forward(batch), out_gradient(forward.q.elements.size(), 1.0F, 6) {
    Memory& memory = forward.memory;
    arguments.forward = forward.arguments;
    arguments.out_gradient = memory.input(out_gradient.elements, "out's gradient");
    arguments.q_gradient = memory.output<Element>(forward.q.elements.size(), "q's gradient");
    arguments.k_gradient = memory.output<Element>(forward.k.elements.size(), "k's gradient");
    arguments.v_gradient = memory.output<Element>(forward.v.elements.size(), "v's gradient");
    for (const SequenceRows& rows : forward.sequences) arguments.most_keys = std::max(arguments.most_keys, rows.keys);
    arguments.terms = memory.output<QueryTerms>(at(lisa::cuda::query_terms_size(arguments)), "terms");
  }

  /// The forward pass and the three kernels of the backward pass.
  [[nodiscard]] Report run(Schedule schedule) {
    const LaunchOptions options{schedule, 4, 2};
    Memory& memory = forward.memory;
    Report report = launch(memory, lisa::cuda::causal_attention_geometry(arguments.forward),
                           causal_attention<Element, head_dim>, arguments.forward, options);
    const auto then = [&](const lisa::cuda::LaunchGeometry& geometry, auto* kernel) {
      if (report.clean()) report = launch(memory, geometry, kernel, arguments, options);
    };
    then(lisa::cuda::query_terms_geometry(arguments), query_terms<Element, head_dim>);
    then(lisa::cuda::query_gradient_geometry(arguments), query_gradient<Element, head_dim>);
    then(lisa::cuda::key_gradient_geometry(arguments), key_gradient<Element, head_dim>);
    return report;
  }

  /// The largest error over its bound, of all three gradients.
  [[nodiscard]] double worst_error() const {
    const int group = forward.batch.heads / forward.batch.kv_heads;
    double worst = 0;
    for (const SequenceRows& rows : forward.sequences)
      for (int kv_head = 0; kv_head < forward.batch.kv_heads; ++kv_head) {
        const std::size_t size = at(rows.keys) * head_dim;
        Gradient k(size), v(size);
        for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
          const HeadGradients gradients = causal_gradient_reference(
              tensors(rows, head), at(std::max(rows.queries * group, rows.keys)), rounding_of<Element>);
          for (std::size_t i = 0; i < size; ++i) {
            k.add(i, gradients.k.values[i], gradients.k.bound[i]);
            v.add(i, gradients.v.values[i], gradients.v.bound[i]);
          }
          worst = worse(of_rows(arguments.q_gradient, gradients.q, forward.query_rows, rows.first_query, head), worst);
        }
        worst = worse(of_rows(arguments.k_gradient, k, forward.key_rows, rows.first_key, kv_head), worst);
        worst = worse(of_rows(arguments.v_gradient, v, forward.key_rows, rows.first_key, kv_head), worst);
      }
    return worst;
  }

 private:
  [[nodiscard]] HeadTensors tensors(const SequenceRows& rows, int head) const {
    HeadTensors t{at(rows.queries), at(rows.keys), head_dim, forward.arguments.scale, {}, {}, {}, {}, {}, {}};
    for (int i = 0; i < rows.queries; ++i) {
      const std::size_t row = forward.query_rows.index(rows.first_query + i, head);
      for (std::size_t d = 0; d < head_dim; ++d) {
        t.q.push_back(forward.q.floats[row + d]);
        t.out.push_back(as_float(arguments.forward.out[row + d]));
        t.out_gradient.push_back(out_gradient.floats[row + d]);
      }
      t.log_sum.push_back(
          arguments.forward.log_sum[head * arguments.forward.log_sum_head_stride + rows.first_query + i]);
    }
    for (int j = 0; j < rows.keys; ++j) {
      t.k.insert(t.k.end(), forward.key(rows, head, j), forward.key(rows, head, j) + head_dim);
      t.v.insert(t.v.end(), forward.value(rows, head, j), forward.value(rows, head, j) + head_dim);
    }
    return t;
  }

  static double of_rows(const Element* found, const Gradient& expected, const RowLayout& layout, std::int64_t first,
                        int head) {
    constexpr ElementRounding rounding = rounding_of<Element>;
    double worst = 0;
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
      const std::int64_t row = first + static_cast<std::int64_t>(i / head_dim);
      const double value = as_float(found[layout.index(row, head) + i % head_dim]);
      const double bound =
          expected.bound[i] + 1.05 * (rounding.unit * std::fabs(expected.values[i]) + rounding.smallest);
      const double error = std::fabs(value - expected.values[i]);
      worst = worse(error == 0 ? 0 : error / bound, worst);
    }
    return worst;
  }
};

template <class Element, int head_dim>
void check(const Batch& batch, Schedule schedule) {
  CAPTURE(head_dim);
  CAPTURE(batch.lengths.empty() ? 0 : batch.lengths[0].held);
  CAPTURE(batch.lengths.empty() ? 0 : batch.lengths[0].queries);
  GradientProblem<Element, head_dim> problem(batch);
  REQUIRE(lisa::cuda::causal_attention_gradient_refusal(problem.arguments) == nullptr);
  const Report report = problem.run(schedule);
  REQUIRE_MESSAGE(report.clean(), report.text());
  Memory& memory = problem.forward.memory;
  CHECK(memory.unwritten_bytes(problem.arguments.q_gradient) == 0);
  const std::size_t gaps = at(problem.forward.gaps(batch) * batch.kv_heads * head_dim) * sizeof(Element);
  CHECK(memory.unwritten_bytes(problem.arguments.k_gradient) == gaps);
  CHECK(memory.unwritten_bytes(problem.arguments.v_gradient) == gaps);
  const double worst = problem.worst_error();
  CHECK(worst <= 1.0);
}

/// Sum of out * out_gradient, with out and log_sum filled in.
double forward_in_double(HeadTensors& t) {
  t.out.assign(t.queries * t.head_dim, 0);
  t.log_sum.clear();
  double sum = 0;
  for (std::size_t i = 0; i < t.queries; ++i) {
    std::vector<double> weights;
    double total = 0;
    for (std::size_t j = 0; j <= t.keys - t.queries + i; ++j) {
      double score = 0;
      for (std::size_t d = 0; d < t.head_dim; ++d) score += t.scale * t.q[i * t.head_dim + d] * t.k[j * t.head_dim + d];
      total += weights.emplace_back(std::exp(score));
    }
    t.log_sum.push_back(std::log(total));
    for (std::size_t d = 0; d < t.head_dim; ++d) {
      double& out = t.out[i * t.head_dim + d];
      for (std::size_t j = 0; j < weights.size(); ++j) out += weights[j] / total * t.v[j * t.head_dim + d];
      sum += out * t.out_gradient[i * t.head_dim + d];
    }
  }
  return sum;
}

}  // namespace

TEST_CASE("causal_attention_gradient: the reference is the slope of the forward pass") {
  HeadTensors t{3, 5, 4, 0.7, {}, {}, {}, {}, {}, {}};
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  for (auto* const rows : {&t.q, &t.out_gradient})
    std::generate_n(std::back_inserter(*rows), 12, [&] { return normal(random); });
  for (auto* const rows : {&t.k, &t.v}) std::generate_n(std::back_inserter(*rows), 20, [&] { return normal(random); });
  forward_in_double(t);
  const HeadGradients gradients = causal_gradient_reference(t, 5, bf16_rounding);
  // Central differences: the third derivative times step^2 / 6, and 2^-52 of the sum over the step, stay below 1e-8.
  constexpr double step = 1e-5, bound = 1e-8;
  const auto check_slopes = [&](std::vector<double>& inputs, const Gradient& gradient) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const double here = inputs[i];
      inputs[i] = here + step;
      const double above = forward_in_double(t);
      inputs[i] = here - step;
      const double below = forward_in_double(t);
      inputs[i] = here;
      CHECK(std::fabs((above - below) / (2 * step) - gradient.values[i]) <= bound);
    }
  };
  check_slopes(t.q, gradients.q);
  check_slopes(t.k, gradients.k);
  check_slopes(t.v, gradients.v);
}

TEST_CASE("causal_attention_gradient: within the bound of its roundings around every edge of a tile, every schedule") {
  for (const Schedule schedule : schedules) {
    check<Bf16, 128>({{{0, 1}}}, schedule);
    check<Fp16, 64>({{{0, 65}}}, schedule);
    check<Bf16, 128>({{{33, 34}}}, schedule);
    check<Bf16, 64>({{{3, 5}, {0, 17}, {70, 0}, {61, 2}}, 4, 2}, schedule);
    for (const int queries : {15, 16, 17, 31, 32, 33, 63, 64, 95, 96, 97, 129})
      check<Bf16, 64>({{{0, queries}}}, schedule);
    for (const int held : {1, 30, 31, 32, 33, 62, 63, 64, 65}) check<Fp16, 64>({{{held, 3}}}, schedule);
    for (const int held : {1, 31, 63}) check<Fp16, 128>({{{held, 2}}}, schedule);
  }
}

TEST_CASE("causal_attention_gradient: ragged batches, sums over heads that share keys, both layouts") {
  for (const Schedule schedule : schedules)
    for (const Outer outer : {Outer::rows, Outer::heads}) {
      check<Bf16, 64>({{{7, 40}, {0, 0}, {0, 65}}, 2, 2, outer}, schedule);
      check<Fp16, 64>({{{5, 9}, {2, 33}}, 6, 2, outer}, schedule);
      check<Bf16, 128>({{{5, 9}, {0, 1}}, 4, 1, outer}, schedule);
    }
}

TEST_CASE("causal_attention_gradient: no sequences are no launch, keys without queries have gradients of zero") {
  for (const Schedule schedule : schedules) {
    check<Bf16, 64>({{}}, schedule);
    check<Bf16, 64>({{{70, 0}}}, schedule);
  }
}

TEST_CASE("causal_attention_gradient: what it can't do is refused in words") {
  GradientProblem<Bf16, 64> problem({{{2, 2}}, 4, 2});
  REQUIRE(lisa::cuda::causal_attention_gradient_refusal(problem.arguments) == nullptr);
  const auto refused = [&](auto change, const char* words) {
    auto a = problem.arguments;
    change(a);
    const char* const refusal = lisa::cuda::causal_attention_gradient_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  refused([](auto& a) { a.forward.head_dim = 80; }, "64 or 128");
  refused([](auto& a) { a.forward.log_sum = nullptr; }, "sums of exponentials");
  refused([](auto& a) { a.most_keys = -1; }, "2^24 keys");
  refused([](auto& a) { a.most_keys = (1 << 24) + 1; }, "2^24 keys");
  refused([](auto& a) { ++a.out_gradient; }, "out's gradient");
  refused([](auto& a) { ++a.q_gradient; }, "q, k and v");
  refused([](auto& a) { ++a.k_gradient; }, "q, k and v");
  refused([](auto& a) { ++a.v_gradient; }, "q, k and v");
  refused([](auto& a) { ++a.terms; }, "workspace");
}
