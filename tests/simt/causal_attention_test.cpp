// torch-free
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "causal_attention_kernels.hpp"
#include "causal_problem.hpp"
#include "launch.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;

namespace {

/// Tiles of keys that a query sees. Each rescales by an exponential, which is 2^-22 = 4 u away.
template <class Element, int head_dim>
int tile_rescalings(int seen) {
  return 4 * lisa::cuda::ceil_div(seen, lisa::cuda::CausalAttentionShared<Element, head_dim>::causal_tile);
}

template <class Element, int head_dim>
void check(const Batch& batch, Schedule schedule) {
  CAPTURE(head_dim);
  CAPTURE(batch.lengths.empty() ? 0 : batch.lengths[0].held);
  CAPTURE(batch.lengths.empty() ? 0 : batch.lengths[0].queries);
  CausalProblem<Element, head_dim> problem(batch);
  REQUIRE(lisa::cuda::causal_attention_refusal(problem.arguments) == nullptr);
  const Report report = launch(problem.memory, lisa::cuda::causal_attention_geometry(problem.arguments),
                               causal_attention<Element, head_dim>, problem.arguments, {schedule, 4, 2});
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(problem.memory.unwritten_bytes(problem.arguments.out) == 0);
  CHECK(problem.memory.unwritten_bytes(problem.arguments.log_sum) == 0);
  const double worst = worst_of_causal(problem, tile_rescalings<Element, head_dim>);
  CHECK(worst <= 1.0);
}

}  // namespace

TEST_CASE("causal_attention: within the bound of its roundings around every edge of a tile, under every schedule") {
  for (const Schedule schedule : schedules) {
    check<Bf16, 128>({{{0, 1}}}, schedule);
    check<Bf16, 64>({{{63, 1}}}, schedule);
    check<Fp16, 64>({{{64, 65}}}, schedule);
    check<Fp16, 128>({{{30, 66}}}, schedule);
    check<Bf16, 128>({{{3, 5}, {0, 17}, {70, 0}, {61, 2}}, 4, 2}, schedule);
    for (const int queries : {15, 16, 17, 31, 33, 48, 63, 64, 65, 127, 128, 129})
      check<Bf16, 64>({{{0, queries}}}, schedule);
    for (const int held : {1, 62, 63, 64, 65, 127, 128}) check<Fp16, 64>({{{held, 2}}}, schedule);
  }
}

TEST_CASE("causal_attention: ragged batches, heads that share keys, in the layouts of a projection and of a cache") {
  const std::vector<Length> ragged{{7, 40}, {0, 0}, {0, 65}, {66, 1}};
  for (const Schedule schedule : schedules)
    for (const Outer outer : {Outer::rows, Outer::heads}) {
      check<Bf16, 64>({ragged, 2, 2, outer}, schedule);
      check<Fp16, 64>({{{5, 9}, {2, 3}}, 6, 2, outer}, schedule);
      check<Bf16, 128>({{{5, 9}, {0, 1}}, 4, 1, outer}, schedule);
    }
}

TEST_CASE("causal_attention: no sequences, or none with queries, are no launch") {
  for (const Schedule schedule : schedules) {
    check<Bf16, 64>({{}}, schedule);
    check<Bf16, 64>({{{4, 0}}}, schedule);
  }
}

TEST_CASE("causal_attention: the sums of exponentials are written only where they are wanted") {
  CausalProblem<Bf16, 64> problem({{{2, 20}}});
  const float* const unwanted = problem.arguments.log_sum;
  problem.arguments.log_sum = nullptr;
  const Report report = launch(problem.memory, lisa::cuda::causal_attention_geometry(problem.arguments),
                               causal_attention<Bf16, 64>, problem.arguments);
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(problem.memory.unwritten_bytes(unwanted) == 20 * sizeof(float));
  const double worst = worst_of_causal(problem, tile_rescalings<Bf16, 64>);
  CHECK(worst <= 1.0);
}

TEST_CASE("causal_attention: scores far from zero do not overflow") {
  CausalProblem<Bf16, 64> problem({{{10, 60}}}, 12.0F);  // scores of up to several hundred
  const Report report = launch(problem.memory, lisa::cuda::causal_attention_geometry(problem.arguments),
                               causal_attention<Bf16, 64>, problem.arguments);
  REQUIRE_MESSAGE(report.clean(), report.text());
  const double worst = worst_of_causal(problem, tile_rescalings<Bf16, 64>);
  CHECK(worst <= 1.0);
}

TEST_CASE("causal_attention: what it can't do is refused in words") {
  CausalProblem<Bf16, 64> problem({{{2, 2}}, 4, 2});
  REQUIRE(lisa::cuda::causal_attention_refusal(problem.arguments) == nullptr);
  const auto refused = [&](auto change, const char* words) {
    auto a = problem.arguments;
    change(a);
    const char* const refusal = lisa::cuda::causal_attention_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  refused([](auto& a) { a.head_dim = 80; }, "64 or 128");
  refused([](auto& a) { a.batch = -1; }, "65535 sequences");
  refused([](auto& a) { a.batch = 65536; }, "65535 sequences");
  refused([](auto& a) { a.heads = 0; }, "65535 heads");
  refused([](auto& a) { a.heads = 65536; }, "65535 heads");
  refused([](auto& a) { a.kv_heads = 0; }, "multiple of the key heads");
  refused([](auto& a) { a.kv_heads = 3; }, "multiple of the key heads");
  refused([](auto& a) { a.most_queries = -1; }, "2^24 queries");
  refused([](auto& a) { a.most_queries = (1 << 24) + 1; }, "2^24 queries");
  refused([](auto& a) { a.scale = 0; }, "positive");
  refused([](auto& a) { a.scale = NAN; }, "positive");
  refused([](auto& a) { ++a.q; }, "q must");
  refused([](auto& a) { a.query_stride += 4; }, "q must");
  refused([](auto& a) { a.query_head_stride += 4; }, "q must");
  refused([](auto& a) { ++a.k; }, "k and v");
  refused([](auto& a) { ++a.v; }, "k and v");
  refused([](auto& a) { a.key_stride += 4; }, "k and v");
  refused([](auto& a) { a.key_head_stride += 4; }, "k and v");
  refused([](auto& a) { ++a.out; }, "out must");
  refused([](auto& a) { a.out_stride += 4; }, "out must");
  refused([](auto& a) { a.out_head_stride += 4; }, "out must");
}
