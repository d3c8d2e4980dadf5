// torch-free
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "element_values.hpp"
#include "gemv_kernels.hpp"
#include "gemv_problem.hpp"
#include "launch.hpp"
#include "lisa/quant/weight_format.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::Bf16;
using lisa::cuda::ElementWeights;
using lisa::cuda::Fp16;
using lisa::cuda::Int4Weights;
using lisa::cuda::Int8Weights;

namespace {

template <class Element>
void check_sum(const GemvShape& shape, WeightStorage storage, Schedule schedule, bool with_residual = false) {
  CAPTURE(static_cast<int>(storage));
  CAPTURE(shape.rows);
  CAPTURE(shape.in);
  CAPTURE(shape.out);
  GemvProblem<Element> problem(shape, storage, GemvResult::sum, {shape.out});
  const int stride = shape.out + 1;
  const Values<Element> residual(at(shape.rows * stride), 2.0F, 6);
  if (with_residual) {
    problem.arguments.residual = problem.memory.input(residual.elements, "residual");
    problem.arguments.residual_stride = stride;
  }
  problem.run(schedule);
  CHECK(problem.wrong(0, [&](int row, int output) {
    Bounded sum = problem.product(0, row, output);
    if (with_residual) {
      sum.value += residual.floats[at(row * stride + output)];
      sum.error += u * (std::fabs(sum.value) + sum.error);
    }
    return sum;
  }) == 0);
}

/// silu(g) v: with the errors of both products; silu's slope is at most 1.1. The exponent's argument has two roundings,
/// exp2 2^-22, and sum, quotient and product one rounding each.
template <class Element>
void check_gated(const GemvShape& shape, WeightStorage storage, Schedule schedule) {
  CAPTURE(static_cast<int>(storage));
  CAPTURE(shape.rows);
  CAPTURE(shape.in);
  GemvProblem<Element> problem(shape, storage, GemvResult::gated, {shape.out, shape.out});
  problem.run(schedule);
  CHECK(problem.wrong(0, [&](int row, int output) {
    const Bounded gate = problem.product(0, row, output), up = problem.product(1, row, output);
    const double silu = gate.value / (1 + std::exp(-gate.value));
    const double relative = 2 * u * std::fabs(gate.value) + 0x1p-22 + 3 * u;
    return Bounded{silu * up.value, 1.1 * gate.error * (std::fabs(up.value) + up.error) + std::fabs(silu) * up.error +
                                        relative * std::fabs(silu * up.value)};
  }) == 0);
}

struct Heads {
  int query, key, head_dim;
};

/// q and k turned in double by the table's own cosines and sines: two products and a sum are rounded.
template <class Element>
void check_rotated(const GemvShape& shape, const Heads& heads, WeightStorage storage, Schedule schedule) {
  CAPTURE(static_cast<int>(storage));
  CAPTURE(shape.rows);
  CAPTURE(heads.head_dim);
  constexpr int table_rows = 40;
  GemvProblem<Element> problem(shape, storage, GemvResult::rotated,
                               {heads.query * heads.head_dim, heads.key * heads.head_dim, heads.key * heads.head_dim});
  const int half = heads.head_dim / 2;
  std::vector<Element> cosine, sine;
  for (int position = 0; position < table_rows; ++position)
    for (int i = 0; i < heads.head_dim; ++i) {
      const double angle = position * std::pow(10000.0, -2.0 * (i % half) / heads.head_dim);
      cosine.push_back(to_element<Element>(static_cast<float>(std::cos(angle))));
      sine.push_back(to_element<Element>(static_cast<float>(std::sin(angle))));
    }
  const std::vector<int> all_positions{39, 0, 7, 8, 1, 20, 7, 33};
  const std::vector<int> positions(all_positions.begin(), all_positions.begin() + shape.rows);
  problem.arguments.cosine = problem.memory.input(cosine, "cosine");
  problem.arguments.sine = problem.memory.input(sine, "sine");
  problem.arguments.positions = problem.memory.input(positions, "positions");
  problem.arguments.head_dim = heads.head_dim;
  problem.run(schedule);
  for (int matrix = 0; matrix < 2; ++matrix)
    CHECK(problem.wrong(matrix, [&](int row, int output) {
      const bool high = output % heads.head_dim >= half;
      const Bounded own = problem.product(matrix, row, output);
      const Bounded other = problem.product(matrix, row, high ? output - half : output + half);
      const std::size_t angle = at(positions[at(row)] * heads.head_dim + output % heads.head_dim);
      const double c = as_float(cosine[angle]), s = as_float(sine[angle]) * (high ? 1.0 : -1.0);
      return Bounded{own.value * c + other.value * s,
                     std::fabs(c) * own.error + std::fabs(s) * other.error +
                         2 * u * (std::fabs(own.value * c) + std::fabs(other.value * s))};
    }) == 0);
  CHECK(problem.wrong(2, [&](int row, int output) { return problem.product(2, row, output); }) == 0);
}

}  // namespace

TEST_CASE("gemv: sums within the bound of their roundings, at sizes around every edge, under every schedule") {
  using enum WeightStorage;
  for (const Schedule schedule : schedules) {
    check_sum<Bf16>({1, 264, 17}, element, schedule);
    check_sum<Fp16>({8, 8, 1}, element, schedule);
    check_sum<Bf16>({1, 528, 2}, int8_row, schedule);
    check_sum<Fp16>({5, 16, 33}, int8_row, schedule);
    check_sum<Bf16>({1, 544, 3}, int4_group32, schedule);
    check_sum<Fp16>({2, 32, 18}, int4_group32, schedule);
    check_sum<Bf16>({1, 1152, 2}, int4_group128, schedule);
    check_sum<Fp16>({7, 128, 3}, int4_group128, schedule);
  }
}

TEST_CASE("gemv: every number of rows, and of lanes in int4's last block") {
  using enum WeightStorage;
  for (const Schedule schedule : schedules) {
    for (int rows = 1; rows <= 8; ++rows)
      for (const WeightStorage storage : {element, int8_row, int4_group32}) {
        check_sum<Bf16>({rows, 160, 3}, storage, schedule);
        check_sum<Fp16>({rows, 96, 2}, storage, schedule);
      }
    for (int lanes = 1; lanes <= 17; ++lanes) check_sum<Bf16>({2, lanes * 32, 2}, int4_group32, schedule);
    for (int groups = 1; groups <= 5; ++groups) check_sum<Bf16>({2, groups * 128, 2}, int4_group128, schedule);
  }
}

TEST_CASE("gemv: inputs that need several tiles") {
  using enum WeightStorage;
  for (const Schedule schedule : schedules) {
    check_sum<Bf16>({8, 2048 + 8, 3}, element, schedule);
    check_sum<Bf16>({8, 2 * 2048 + 96, 2}, int4_group32, schedule);
    check_sum<Bf16>({1, 16384 + 128, 1}, int4_group128, schedule);
    check_sum<Fp16>({1, 16384 + 16, 2}, int8_row, schedule);
    check_sum<Bf16>({3, 5632 + 96, 2}, int4_group32, schedule);
  }
}

TEST_CASE("gemv: a residual is added before the one rounding") {
  using enum WeightStorage;
  for (const Schedule schedule : schedules) {
    check_sum<Bf16>({3, 64, 19}, int8_row, schedule, true);
    check_sum<Fp16>({1, 72, 5}, element, schedule, true);
  }
}

TEST_CASE("gemv: the residual may be where the result goes") {
  GemvProblem<Bf16> problem({2, 64, 6}, WeightStorage::element, GemvResult::sum, {6});
  const Values<Bf16> residual(12, 2.0F, 6);
  Bf16* const stream = problem.memory.in_out(residual.elements, "residual");
  problem.arguments.residual = stream;
  problem.arguments.residual_stride = 6;
  problem.arguments.out[0] = {stream, 6};
  REQUIRE(problem.run_with<ElementWeights<Bf16>>(Schedule::random).clean());
  CHECK(problem.wrong(0, [&](int row, int output) {
    Bounded sum = problem.product(0, row, output);
    sum.value += residual.floats[at(row * 6 + output)];
    sum.error += u * (std::fabs(sum.value) + sum.error);
    return sum;
  }) == 0);
}

TEST_CASE("gemv: gate and up become one output") {
  using enum WeightStorage;
  for (const Schedule schedule : schedules) {
    check_gated<Bf16>({1, 256, 9}, int4_group128, schedule);
    check_gated<Fp16>({4, 48, 11}, int8_row, schedule);
    check_gated<Bf16>({8, 40, 1}, element, schedule);
    check_gated<Fp16>({2, 96, 8}, int4_group32, schedule);
  }
}

TEST_CASE("gemv: queries and keys turn with their positions, values do not") {
  using enum WeightStorage;
  for (const Schedule schedule : schedules) {
    check_rotated<Bf16>({1, 64, 0}, {3, 1, 8}, element, schedule);
    check_rotated<Fp16>({8, 32, 0}, {2, 2, 6}, int8_row, schedule);
    check_rotated<Bf16>({2, 128, 0}, {2, 1, 64}, int4_group128, schedule);
    check_rotated<Bf16>({3, 32, 0}, {1, 1, 2}, int4_group32, schedule);
  }
}

TEST_CASE("gemv: no rows are no launch") {
  for (const Schedule schedule : schedules)
    for (const WeightStorage storage : {WeightStorage::element, WeightStorage::int4_group32})
      check_sum<Bf16>({0, 64, 3}, storage, schedule);
}

TEST_CASE("gemv: int8 keeps its most negative weight, and int4 all sixteen integers") {
  // By hand, not by the library's rounding, which never makes -128.
  GemvProblem<Bf16> problem({1, 32, 1}, WeightStorage::int8_row, GemvResult::sum, {1});
  std::vector<std::byte> bytes(36);
  std::vector<Bf16> ones(32, Bf16{to_bf16(1.0F)});
  bytes[0] = static_cast<std::byte>(-128);
  bytes[31] = static_cast<std::byte>(127);
  const float scale = 0.5F;
  std::memcpy(bytes.data() + 32, &scale, sizeof scale);
  problem.arguments.x = problem.memory.input(ones, "ones");
  problem.arguments.weights[0].bytes = problem.memory.input(bytes, "weights");
  REQUIRE(problem.run_with<Int8Weights>(Schedule::forward).clean());
  CHECK(as_float(problem.found(0, 0, 0)) == -0.5F);

  GemvProblem<Bf16> nibbles({1, 32, 1}, WeightStorage::int4_group32, GemvResult::sum, {1});
  std::vector<std::byte> pairs(18);
  double expected = 0;
  std::vector<Bf16> x;
  for (int i = 0; i < 32; ++i) {
    const auto place = lisa::int4_place(32, i);
    pairs[static_cast<std::size_t>(place.byte)] |= static_cast<std::byte>(i % 16 << (place.high ? 4 : 0));
    x.push_back({to_bf16(static_cast<float>(i % 3))});
    expected += (i % 16 - 8) * (i % 3);
  }
  const std::uint16_t one = to_bf16(1.0F);
  std::memcpy(pairs.data() + 16, &one, sizeof one);
  nibbles.arguments.x = nibbles.memory.input(x, "x");
  nibbles.arguments.weights[0].bytes = nibbles.memory.input(pairs, "weights");
  REQUIRE(nibbles.run_with<Int4Weights<32>>(Schedule::forward).clean());
  CHECK(as_float(nibbles.found(0, 0, 0)) == expected);
}

TEST_CASE("gemv: what it can't do is refused in words") {
  GemvProblem<Bf16> problem({2, 128, 0}, WeightStorage::element, GemvResult::rotated, {16, 8, 8});
  problem.arguments.head_dim = 8;
  REQUIRE(lisa::cuda::gemv_refusal(problem.arguments) == nullptr);
  const auto refused = [&](auto change, const char* words) {
    auto a = problem.arguments;
    change(a);
    const char* const refusal = lisa::cuda::gemv_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  refused([](auto& a) { a.rows = -1; }, "0 to 8 rows");
  refused([](auto& a) { a.rows = 9; }, "0 to 8 rows");
  refused([](auto& a) { a.in = 0; }, "inputs must");
  refused([](auto& a) { a.in = 124; }, "inputs must");
  refused([](auto& a) { a.in = 120, a.storage = WeightStorage::int8_row; }, "inputs must");
  refused([](auto& a) { a.in = 112, a.storage = WeightStorage::int4_group32; }, "inputs must");
  refused([](auto& a) { a.in = 160, a.storage = WeightStorage::int4_group128; }, "inputs must");
  refused([](auto& a) { ++a.x; }, "x must");
  refused([](auto& a) { a.x_stride += 4; }, "x must");
  refused([](auto& a) { a.weights[1].out = 0; }, "outputs");
  refused([](auto& a) { a.weights[2].out = (1 << 28) + 8; }, "outputs");
  refused([](auto& a) { ++a.weights[2].bytes; }, "weights must");
  refused([](auto& a) { a.result = GemvResult::gated; }, "same number of outputs");
  refused([](auto& a) { a.head_dim = 7; }, "even head_dim");
  refused([](auto& a) { a.head_dim = 0; }, "even head_dim");
  refused([](auto& a) { a.weights[1].out = 12; }, "whole heads");
}
