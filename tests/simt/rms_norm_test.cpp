// torch-free
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "element_values.hpp"
#include "launch.hpp"
#include "rms_norm_kernels.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using lisa::cuda::RmsNormArguments;

namespace {

constexpr float eps = 0.25F;  // large enough beside the squares to be seen

enum class Residual { none, own_sum, in_place };

template <class Element>
struct Problem {
  int rows, width;
  Values<Element> x, added, weight;
  Memory memory;
  RmsNormArguments<Element> arguments{};

  Problem(int row_count, int row_width, Residual residual)
      : rows(row_count),
        width(row_width),
        x(at(row_count * row_width), 1.5F, 1),
        added(at(row_count * row_width), 0.7F, 2),
        weight(at(row_width), 1.0F, 3) {
    Element* const own = memory.in_out(x.elements, "x");
    arguments = {own, nullptr, memory.input(weight.elements, "weight"), nullptr, nullptr, eps, rows, width};
    if (residual != Residual::none) {
      arguments.added = memory.input(added.elements, "added");
      arguments.sum = residual == Residual::in_place ? own : memory.output<Element>(x.elements.size(), "sum");
    }
    arguments.out = memory.output<Element>(x.elements.size(), "out");
  }

  [[nodiscard]] Report run(Schedule schedule) {
    REQUIRE(lisa::cuda::rms_norm_refusal(arguments) == nullptr);
    const auto kernel = lisa::cuda::rms_norm_chunk(arguments) == 1 ? rms_norm<Element, 1> : rms_norm<Element, 8>;
    return launch(memory, lisa::cuda::rms_norm_geometry(arguments), kernel, arguments, {schedule, 7, 4});
  }
};

/// How many elements of a row are not what the stated roundings make of the exact scale. With u = 2^-24 the sum of
/// `width` squares, in any order, has a relative error of at most width u, so the scale one of half as much and 4 u for
/// mean, eps, root and quotient; its product with the value adds one, and the two ends of the interval, which are cast
/// to float here, one each. Rounding is monotonic: the normalised value is the rounded one of either end, or between.
template <class Element>
int wrong_in_row(const float* x, const float* weight, const Element* out, int width) {
  double squares = 0;
  for (int i = 0; i < width; ++i) squares += double{x[i]} * x[i];
  const double scale = 1 / std::sqrt(squares / width + double{eps});
  const double relative = 1.01 * (0.5 * width + 6) * 0x1p-24;
  int wrong = 0;
  for (int i = 0; i < width; ++i) {
    const auto normalised = [&](double factor) {
      return as_float(to_element<Element>(static_cast<float>(x[i] * scale * factor)));
    };
    const float low = as_float(to_element<Element>(normalised(1 - relative) * weight[i]));
    const float high = as_float(to_element<Element>(normalised(1 + relative) * weight[i]));
    const float found = as_float(out[i]);
    wrong += !(std::fmin(low, high) <= found && found <= std::fmax(low, high));
  }
  return wrong;
}

template <class Element>
void check(int rows, int width, Residual residual, Schedule schedule) {
  CAPTURE(rows);
  CAPTURE(width);
  Problem<Element> problem(rows, width, residual);
  const Report report = problem.run(schedule);
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(problem.memory.unwritten_bytes(problem.arguments.out) == 0);
  std::vector<float> sum = problem.x.floats;
  if (residual != Residual::none) {
    CHECK(problem.memory.unwritten_bytes(problem.arguments.sum) == 0);
    int wrong = 0;
    for (std::size_t i = 0; i < sum.size(); ++i) {
      sum[i] = as_float(to_element<Element>(sum[i] + problem.added.floats[i]));
      wrong += as_float(problem.arguments.sum[i]) != sum[i];
    }
    CHECK(wrong == 0);
  }
  int wrong = 0;
  for (int row = 0; row < rows; ++row)
    wrong += wrong_in_row(sum.data() + row * width, problem.weight.floats.data(), problem.arguments.out + row * width,
                          width);
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("rms_norm: rounded as stated, at widths around every edge, under every schedule") {
  for (const Schedule schedule : schedules) {
    for (const int width : {1, 8, 31, 33, 256, 264, 511}) check<Bf16>(2, width, Residual::none, schedule);
    for (const int width : {7, 248, 520}) check<Fp16>(3, width, Residual::own_sum, schedule);
    check<Bf16>(1, 4096 + 8, Residual::in_place, schedule);  // more than a block takes at a time
    check<Fp16>(1, 512 + 3, Residual::in_place, schedule);
  }
}

TEST_CASE("rms_norm: rows that start at any address are taken element by element") {
  Problem<Bf16> problem(2, 16, Residual::own_sum);
  REQUIRE(lisa::cuda::rms_norm_chunk(problem.arguments) == 8);
  for (const auto change : {+[](RmsNormArguments<Bf16>& a) { ++a.x; }, +[](RmsNormArguments<Bf16>& a) { ++a.added; },
                            +[](RmsNormArguments<Bf16>& a) { ++a.weight; }, +[](RmsNormArguments<Bf16>& a) { ++a.sum; },
                            +[](RmsNormArguments<Bf16>& a) { ++a.out; }}) {
    auto moved = problem.arguments;
    change(moved);
    CHECK(lisa::cuda::rms_norm_chunk(moved) == 1);
  }
}

TEST_CASE("rms_norm: no rows are no launch") {
  for (const Schedule schedule : schedules) check<Bf16>(0, 64, Residual::own_sum, schedule);
}

TEST_CASE("rms_norm: zeros stay zeros, and what is no number reaches the whole row and no other") {
  Problem<Bf16> problem(3, 40, Residual::none);
  auto* const x = const_cast<Bf16*>(problem.arguments.x);
  for (int i = 0; i < 40; ++i) x[i] = {0};
  x[40 + 17] = {to_bf16(std::numeric_limits<float>::quiet_NaN())};
  REQUIRE(problem.run(Schedule::forward).clean());
  const Bf16* const out = problem.arguments.out;
  for (int i = 0; i < 40; ++i) {
    CHECK(as_float(out[i]) == 0.0F);
    CHECK(std::isnan(as_float(out[40 + i])));
    CHECK(std::isfinite(as_float(out[80 + i])));
  }
}

TEST_CASE("rms_norm: what it can't do is refused in words") {
  Problem<Bf16> problem(1, 8, Residual::own_sum);
  REQUIRE(lisa::cuda::rms_norm_refusal(problem.arguments) == nullptr);
  const auto refused = [&](auto change, const char* words) {
    auto a = problem.arguments;
    change(a);
    const char* const refusal = lisa::cuda::rms_norm_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  refused([](auto& a) { a.rows = -1; }, "negative");
  refused([](auto& a) { a.width = 0; }, "1 to 65536");
  refused([](auto& a) { a.width = 65537; }, "1 to 65536");
  refused([](auto& a) { a.eps = -1; }, "eps");
  refused([](auto& a) { a.eps = NAN; }, "eps");
  refused([](auto& a) { a.sum = nullptr; }, "needs a place");
}
