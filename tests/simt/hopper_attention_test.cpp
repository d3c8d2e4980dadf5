// torch-free
#include <algorithm>
#include <string>

#include "attention_problem.hpp"
#include "hopper_attention_kernels.hpp"
#include "launch.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using lisa::cuda::LaunchGeometry;

namespace {

/// @param blocks how many rows of blocks are launched; the queries of all others must stay unwritten
template <class Element, int head_dim>
void check_hopper(const Grid& grid, Schedule schedule, int blocks = 0) {
  CAPTURE(grid.height);
  CAPTURE(grid.width);
  CAPTURE(head_dim);
  Problem<Element, head_dim> problem(grid, grid.height, grid.width);
  REQUIRE(lisa::cuda::global_attention_refusal(problem.arguments) == nullptr);
  LaunchGeometry geometry = lisa::cuda::hopper_attention_geometry(problem.arguments);
  if (blocks != 0) geometry.grid.x = blocks;
  const int launched = blocks == 0 ? grid.height : std::min(grid.height, 2 * blocks);
  if (grid.batch != 0) {
    REQUIRE(lisa::cuda::hopper_attention_refusal(problem.arguments) == nullptr);
    const auto arguments = lisa::cuda::hopper_attention_arguments<TensorMap>(problem.arguments, tensor_map);
    const Report report =
        launch(problem.memory, geometry, global_attention_sm90a<Element, head_dim>, arguments, {schedule, 4, 2});
    REQUIRE_MESSAGE(report.clean(), report.text());
  }
  CHECK(problem.memory.unwritten_bytes(problem.arguments.out) ==
        at(grid.batch * (grid.height - launched) * grid.width * grid.heads * head_dim) * sizeof(Element));
  CHECK(worst_of_global(problem, launched) <= 1.0);
}

}  // namespace

TEST_CASE("global_attention_sm90a: within the bound of its roundings around every edge, under every schedule") {
  for (const Schedule schedule : schedules) {
    check_hopper<Bf16, 80>({1, 1, 1, 1}, schedule);
    check_hopper<Bf16, 80>({1, 1, 2, 17}, schedule);
    check_hopper<Fp16, 64>({1, 1, 3, 64}, schedule);
    check_hopper<Fp16, 80>({1, 1, 6, 16}, schedule);  // more rows of keys than stages
    check_hopper<Bf16, 64>({1, 1, 5, 15}, schedule);
  }
  for (const int width : {7, 8, 9, 33, 63}) check_hopper<Bf16, 64>({1, 1, 2, width}, Schedule::random);
  for (const int height : {4, 8, 9, 13}) check_hopper<Bf16, 80>({1, 1, height, 3}, Schedule::random);
  check_hopper<Bf16, 80>({2, 3, 3, 5}, Schedule::random);
}

TEST_CASE("global_attention_sm90a: SAM's grid of 64 x 64, one block") {
  check_hopper<Bf16, 80>({1, 1, 64, 64}, Schedule::random, 1);
}

TEST_CASE("global_attention_sm90a: what it can't do beside is refused in words") {
  Problem<Bf16, 64> problem({1, 1, 2, 2}, 2, 2);
  REQUIRE(lisa::cuda::hopper_attention_refusal(problem.arguments) == nullptr);
  const auto refused = [&](auto change) {
    auto a = problem.arguments;
    change(a);
    const char* const refusal = lisa::cuda::hopper_attention_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find("strides must be positive") != std::string::npos);
  };
  refused([](auto& a) { a.token_stride = 0; });
  refused([](auto& a) { a.token_stride = -192; });
  refused([](auto& a) { a.head_stride = -64; });
  refused([](auto& a) { a.batch_stride = 0; });
  refused([](auto& a) { a.batch_stride = std::int64_t{1} << 39; });
}
