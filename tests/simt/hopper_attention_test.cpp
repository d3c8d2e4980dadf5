// torch-free
#include <algorithm>
#include <stdexcept>
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
  REQUIRE(lisa::cuda::hopper_attention_refusal(problem.arguments) == nullptr);
  const auto arguments = lisa::cuda::hopper_attention_arguments<TensorMap>(problem.arguments, tensor_map);
  const Report report =
      launch(problem.memory, geometry, global_attention_sm90a<Element, head_dim>, arguments, {schedule, 4, 2});
  REQUIRE_MESSAGE(report.clean(), report.text());
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
    check_hopper<Bf16, 80>({2, 3, 3, 5}, schedule);
    for (const int width : {7, 8, 9, 31, 32, 33, 63}) check_hopper<Bf16, 64>({1, 1, 2, width}, schedule);
    for (const int height : {4, 7, 8, 9, 13}) check_hopper<Bf16, 80>({1, 1, height, 3}, schedule);
  }
}

TEST_CASE("global_attention_sm90a: SAM's grid of 64 x 64, one block, under every schedule") {
  for (const Schedule schedule : schedules) {
    check_hopper<Bf16, 80>({1, 1, 64, 64}, schedule, 1);
    check_hopper<Fp16, 64>({1, 1, 64, 64}, schedule, 1);
  }
}

TEST_CASE("global_attention_sm90a: no images are no launch, and no tensor that could be described") {
  Problem<Bf16, 80> problem({0, 2, 3, 5}, 3, 5);
  const auto& arguments = problem.arguments;
  REQUIRE(lisa::cuda::global_attention_refusal(arguments) == nullptr);
  REQUIRE(lisa::cuda::hopper_attention_refusal(arguments) == nullptr);
  CHECK_THROWS_AS((void)lisa::cuda::hopper_attention_arguments<TensorMap>(arguments, tensor_map),
                  std::invalid_argument);
  // So it is the launch that must be left out first, whatever the tensors are.
  for (const Schedule schedule : schedules) {
    const Report report = launch(problem.memory, lisa::cuda::hopper_attention_geometry(arguments),
                                 global_attention_sm90a<Bf16, 80>, {arguments, {}, {}, {}, {}, {}}, {schedule, 4, 2});
    REQUIRE_MESSAGE(report.clean(), report.text());
  }
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
