// torch-free
#include <cmath>
#include <string>

#include "attention_problem.hpp"
#include "causal_problem.hpp"
#include "launch.hpp"
#include "reference_attention_kernels.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::WindowAttentionArguments;

namespace {

/// Each key may rescale by an exponential, which is 2^-22 = 4 u away.
int key_rescalings(int seen) { return 4 * seen; }

template <int head_dim>
void check_windows(const Grid& grid, int side, Schedule schedule) {
  CAPTURE(grid.height);
  CAPTURE(grid.width);
  CAPTURE(head_dim);
  CAPTURE(side);
  Problem<float, head_dim> problem(grid, side, side);
  const float* const padding = problem.memory.input(problem.padding.elements, "padding");
  const WindowAttentionArguments<float> arguments{problem.arguments, padding, padding + grid.heads * head_dim, side};
  REQUIRE(lisa::cuda::reference_window_attention_refusal(arguments) == nullptr);
  const Report report = launch(problem.memory, lisa::cuda::reference_window_attention_geometry(arguments),
                               reference_window_attention, arguments, {schedule, 6, 4});
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(problem.memory.unwritten_bytes(problem.arguments.out) == 0);
  CHECK(worst_of_windows(problem, side, key_rescalings(side * side)) <= 1.0);
}

template <int head_dim>
void check_causal(const Batch& batch, Schedule schedule, float deviation = 1.0F) {
  CAPTURE(head_dim);
  CausalProblem<float, head_dim> problem(batch, deviation);
  REQUIRE(lisa::cuda::reference_causal_attention_refusal(problem.arguments) == nullptr);
  const Report report = launch(problem.memory, lisa::cuda::reference_causal_attention_geometry(problem.arguments),
                               reference_causal_attention, problem.arguments, {schedule, 4, 4});
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(problem.memory.unwritten_bytes(problem.arguments.out) == 0);
  CHECK(problem.memory.unwritten_bytes(problem.arguments.log_sum) == 0);
  const double worst = worst_of_causal(problem, key_rescalings);
  CHECK(worst <= 1.0);
}

}  // namespace

TEST_CASE("reference_window_attention: within the bound of its roundings, under every schedule") {
  for (const Schedule schedule : schedules) {
    check_windows<80>({1, 2, 5, 6}, 4, schedule);
    check_windows<64>({2, 1, 3, 3}, 3, schedule);
  }
}

TEST_CASE("reference_window_attention: heads of every width, and one token") {
  for (const Schedule schedule : schedules) {
    check_windows<1>({1, 1, 1, 1}, 1, schedule);
    check_windows<20>({1, 3, 2, 5}, 5, schedule);
    check_windows<31>({1, 1, 2, 3}, 2, schedule);
    check_windows<32>({1, 1, 3, 2}, 2, schedule);
    check_windows<33>({2, 2, 4, 3}, 14, schedule);
    check_windows<65>({1, 1, 3, 3}, 2, schedule);
    check_windows<96>({1, 2, 1, 4}, 3, schedule);
    check_windows<127>({1, 1, 2, 2}, 3, schedule);
    check_windows<128>({1, 1, 2, 3}, 2, schedule);
  }
}

TEST_CASE("reference_window_attention: no images are no launch") {
  for (const Schedule schedule : schedules) check_windows<80>({0, 1, 3, 3}, 3, schedule);
}

TEST_CASE("reference_window_attention: what it can't do is refused in words") {
  Problem<float, 64> problem({1, 1, 2, 2}, 14, 14);
  const WindowAttentionArguments<float> good{problem.arguments, nullptr, nullptr, 14};
  REQUIRE(lisa::cuda::reference_window_attention_refusal(good) == nullptr);
  const auto refused = [&](auto change, const char* words) {
    auto a = good;
    change(a);
    const char* const refusal = lisa::cuda::reference_window_attention_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  refused([](auto& a) { a.attention.head_dim = 0; }, "1 to 128");
  refused([](auto& a) { a.attention.head_dim = 129; }, "1 to 128");
  refused([](auto& a) { a.attention.batch = -1; }, "65535 images");
  refused([](auto& a) { a.attention.batch = 65536; }, "65535 images");
  refused([](auto& a) { a.attention.heads = 0; }, "65535 heads");
  refused([](auto& a) { a.attention.heads = 65536; }, "65535 heads");
  refused([](auto& a) { a.attention.scale = 0; }, "positive");
  refused([](auto& a) { a.attention.scale = NAN; }, "positive");
  refused([](auto& a) { a.attention.grid_height = 0; }, "1 to 4096 tokens per side");
  refused([](auto& a) { a.attention.grid_height = 4097; }, "1 to 4096 tokens per side");
  refused([](auto& a) { a.attention.grid_width = 0; }, "1 to 4096 tokens per side");
  refused([](auto& a) { a.attention.grid_width = 4097; }, "1 to 4096 tokens per side");
  refused([](auto& a) { a.window_side = 0; }, "windows must");
  refused([](auto& a) { a.window_side = 4097; }, "windows must");
}

TEST_CASE("reference_causal_attention: within the bound of its roundings, under every schedule") {
  for (const Schedule schedule : schedules) {
    check_causal<128>({{{0, 1}}}, schedule);
    check_causal<64>({{{7, 5}, {0, 9}, {11, 0}, {4, 2}}, 4, 2, Outer::rows}, schedule);
    check_causal<64>({{{7, 5}, {0, 9}, {11, 0}, {4, 2}}, 4, 2, Outer::heads}, schedule);
  }
}

TEST_CASE("reference_causal_attention: heads of every width, and scores far from zero") {
  for (const Schedule schedule : schedules) {
    check_causal<1>({{{3, 3}}}, schedule);
    check_causal<32>({{{0, 5}, {1, 1}}}, schedule);
    check_causal<33>({{{2, 4}}, 6, 2}, schedule);
    check_causal<96>({{{4, 3}}}, schedule);
    check_causal<127>({{{1, 5}}}, schedule);
    check_causal<64>({{{10, 30}}}, schedule, 12.0F);
  }
}

TEST_CASE("reference_causal_attention: no sequences, or none with queries, are no launch") {
  for (const Schedule schedule : schedules) {
    check_causal<64>({{}}, schedule);
    check_causal<64>({{{4, 0}}}, schedule);
  }
}

TEST_CASE("reference_causal_attention: the sums of exponentials are written only where they are wanted") {
  CausalProblem<float, 64> problem({{{2, 6}}});
  const float* const unwanted = problem.arguments.log_sum;
  problem.arguments.log_sum = nullptr;
  const Report report = launch(problem.memory, lisa::cuda::reference_causal_attention_geometry(problem.arguments),
                               reference_causal_attention, problem.arguments);
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(problem.memory.unwritten_bytes(unwanted) == 6 * sizeof(float));
  CHECK(problem.memory.unwritten_bytes(problem.arguments.out) == 0);
}

TEST_CASE("reference_causal_attention: what it can't do is refused in words") {
  CausalProblem<float, 64> problem({{{2, 2}}, 4, 2});
  const auto refused = [&](auto change, const char* words) {
    auto a = problem.arguments;
    change(a);
    const char* const refusal = lisa::cuda::reference_causal_attention_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  refused([](auto& a) { a.head_dim = 0; }, "1 to 128");
  refused([](auto& a) { a.head_dim = 129; }, "1 to 128");
  refused([](auto& a) { a.batch = 65536; }, "65535 sequences");
  refused([](auto& a) { a.kv_heads = 3; }, "multiple of the key heads");
  refused([](auto& a) { a.most_queries = -1; }, "2^24 queries");
  refused([](auto& a) { a.most_queries = (1 << 24) + 1; }, "2^24 queries");
  refused([](auto& a) { a.scale = 0; }, "positive");
  refused([](auto& a) { a.scale = NAN; }, "positive");
}
