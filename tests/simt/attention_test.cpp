// torch-free
#include <cmath>
#include <string>
#include <vector>

#include "attention_kernels.hpp"
#include "attention_problem.hpp"
#include "launch.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using lisa::cuda::LaunchGeometry;
using lisa::cuda::WindowAttentionArguments;

namespace {

/// @param query_rows how many rows of queries are launched; all others must stay unwritten
template <class Element, int head_dim>
void check_global(const Grid& grid, Schedule schedule, int query_rows = 0) {
  CAPTURE(grid.height);
  CAPTURE(grid.width);
  CAPTURE(head_dim);
  Problem<Element, head_dim> problem(grid, grid.height, grid.width);
  REQUIRE(lisa::cuda::global_attention_refusal(problem.arguments) == nullptr);
  LaunchGeometry geometry = lisa::cuda::global_attention_geometry(problem.arguments);
  const int launched = query_rows == 0 ? grid.height : query_rows;
  geometry.grid.x = launched;
  const Report report =
      launch(problem.memory, geometry, global_attention<Element, head_dim>, problem.arguments, {schedule, 4, 2});
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(problem.memory.unwritten_bytes(problem.arguments.out) ==
        at(grid.batch * (grid.height - launched) * grid.width * grid.heads * head_dim) * sizeof(Element));
  CHECK(worst_of_global(problem, launched) <= 1.0);
}

template <class Element, int head_dim, int side>
void check_window(const Grid& grid, Schedule schedule) {
  CAPTURE(grid.height);
  CAPTURE(grid.width);
  CAPTURE(head_dim);
  Problem<Element, head_dim> problem(grid, side, side);
  const Element* const padding = problem.memory.input(problem.padding.elements, "padding");
  const WindowAttentionArguments<Element> arguments{problem.arguments, padding, padding + grid.heads * head_dim, side};
  if (side == lisa::cuda::sam_window_side) REQUIRE(lisa::cuda::window_attention_refusal(arguments) == nullptr);
  const Report report = launch(problem.memory, lisa::cuda::window_attention_geometry<side>(arguments),
                               window_attention<Element, head_dim, side>, arguments, {schedule, 6, 2});
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(problem.memory.unwritten_bytes(problem.arguments.out) == 0);
  CHECK(worst_of_windows(problem, side, 0) <= 1.0);
}

}  // namespace

TEST_CASE("global_attention: within the bound of its roundings around every edge of a tile, under every schedule") {
  for (const Schedule schedule : schedules) {
    check_global<Bf16, 80>({1, 1, 1, 1}, schedule);
    check_global<Bf16, 80>({1, 1, 2, 17}, schedule);
    check_global<Bf16, 80>({1, 1, 3, 64}, schedule);
    check_global<Bf16, 64>({1, 1, 2, 63}, schedule);
    check_global<Fp16, 80>({1, 1, 4, 16}, schedule);
    check_global<Fp16, 64>({2, 2, 2, 15}, schedule);
    check_global<Bf16, 80>({2, 3, 3, 5}, schedule);
    for (const int width : {1, 7, 8, 9, 31, 32, 33, 47, 48, 49}) check_global<Bf16, 64>({1, 1, 2, width}, schedule);
    for (const int height : {1, 5, 8, 9}) check_global<Fp16, 80>({1, 1, height, 3}, schedule);
  }
}

TEST_CASE("global_attention: SAM's grid of 64 x 64, one row of queries, under every schedule") {
  for (const Schedule schedule : schedules) {
    check_global<Bf16, 80>({1, 1, 64, 64}, schedule, 1);
    check_global<Fp16, 64>({1, 1, 64, 64}, schedule, 1);
  }
}

TEST_CASE("global_attention: no images are no launch") {
  for (const Schedule schedule : schedules) check_global<Bf16, 80>({0, 1, 2, 2}, schedule);
}

TEST_CASE("global_attention: what it can't do is refused in words") {
  Problem<Bf16, 64> problem({1, 1, 2, 2}, 2, 2);
  REQUIRE(lisa::cuda::global_attention_refusal(problem.arguments) == nullptr);
  const auto refused = [&](auto change, const char* words) {
    auto a = problem.arguments;
    change(a);
    const char* const refusal = lisa::cuda::global_attention_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  refused([](auto& a) { a.head_dim = 128; }, "64 or 80");
  refused([](auto& a) { a.grid_height = 0; }, "1 to 64 tokens");
  refused([](auto& a) { a.grid_height = 65; }, "1 to 64 tokens");
  refused([](auto& a) { a.grid_width = 0; }, "1 to 64 tokens");
  refused([](auto& a) { a.grid_width = 65; }, "1 to 64 tokens");
  refused([](auto& a) { a.batch = -1; }, "65535 images");
  refused([](auto& a) { a.batch = 65536; }, "65535 images");
  refused([](auto& a) { a.heads = 0; }, "65535 heads");
  refused([](auto& a) { a.heads = 65536; }, "65535 heads");
  refused([](auto& a) { a.scale = 0; }, "positive");
  refused([](auto& a) { a.scale = NAN; }, "positive");
  refused([](auto& a) { ++a.q; }, "q, k and v");
  refused([](auto& a) { ++a.k; }, "q, k and v");
  refused([](auto& a) { ++a.v; }, "q, k and v");
  refused([](auto& a) { a.batch_stride += 4; }, "q, k and v");
  refused([](auto& a) { a.token_stride += 4; }, "q, k and v");
  refused([](auto& a) { a.head_stride += 4; }, "q, k and v");
  refused([](auto& a) { ++a.out; }, "out must");
  refused([](auto& a) { a.out_batch_stride += 4; }, "out must");
  refused([](auto& a) { a.out_token_stride += 4; }, "out must");
  refused([](auto& a) { a.out_head_stride += 4; }, "out must");
  refused([](auto& a) { ++a.rel_h; }, "tables");
  refused([](auto& a) { ++a.rel_w; }, "tables");
}

TEST_CASE("window_attention: within the bound of its roundings in whole and clipped windows, under every schedule") {
  for (const Schedule schedule : schedules) {
    check_window<Bf16, 80, 14>({1, 1, 15, 20}, schedule);
    check_window<Fp16, 64, 14>({1, 1, 14, 13}, schedule);
    check_window<Bf16, 80, 5>({1, 2, 12, 5}, schedule);
    check_window<Bf16, 64, 14>({2, 2, 1, 1}, schedule);
    check_window<Fp16, 80, 14>({1, 1, 8, 16}, schedule);
    check_window<Fp16, 80, 14>({1, 1, 29, 2}, schedule);
    check_window<Bf16, 80, 5>({2, 1, 4, 11}, schedule);
  }
}

TEST_CASE("window_attention: SAM's grid of 64 x 64, under every schedule") {
  for (const Schedule schedule : schedules) check_window<Bf16, 80, 14>({1, 1, 64, 64}, schedule);
}

TEST_CASE("window_attention: no images are no launch") {
  for (const Schedule schedule : schedules) check_window<Bf16, 80, 14>({0, 1, 15, 20}, schedule);
}

TEST_CASE("window_attention: what it can't do is refused in words") {
  Problem<Bf16, 64> problem({1, 1, 2, 2}, 14, 14);
  const Bf16* const padding = problem.memory.input(problem.padding.elements, "padding");
  const WindowAttentionArguments<Bf16> good{problem.arguments, padding, padding + 64, 14};
  REQUIRE(lisa::cuda::window_attention_refusal(good) == nullptr);
  const auto refused = [&](auto change, const char* words) {
    auto a = good;
    change(a);
    const char* const refusal = lisa::cuda::window_attention_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  refused([](auto& a) { a.window_side = 7; }, "side of 14");
  refused([](auto& a) { a.attention.grid_height = 0; }, "1 to 4096");
  refused([](auto& a) { a.attention.grid_width = 4097; }, "1 to 4096");
  refused([](auto& a) { ++a.key_padding; }, "padding");
  refused([](auto& a) { ++a.value_padding; }, "padding");
  refused([](auto& a) { a.attention.head_dim = 96; }, "64 or 80");
}
