#include "lisa/sam/fused_relative_attention.hpp"

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <optional>

#include "lisa/sam/image_encoder.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

constexpr SamConfig with_head_dim(dim head_dim, dim grid_side, dim window) {
  return {.image = 4 * grid_side, .patch = 4, .hidden = 2 * head_dim, .mlp = 8, .heads = 2, .window = window};
}

template <dim HeadDim>
struct Operands {
  Operands(dim batch, dim height, dim width, dim side, at::ScalarType dtype)
      : projected(random_tensor({batch, height, width, 6 * HeadDim}, 1, dtype)),
        padding(random_tensor({6 * HeadDim}, 2, dtype)),
        rel_h(random_tensor({2 * side - 1, HeadDim}, 3).div(std::sqrt(static_cast<double>(HeadDim))).to(dtype)),
        rel_w(random_tensor({2 * side - 1, HeadDim}, 4).div(std::sqrt(static_cast<double>(HeadDim))).to(dtype)) {}

  [[nodiscard]] std::optional<at::Tensor> fused(dim side) const {
    return fused_relative_attention<HeadDim>(projected, padding, rel_h, rel_w, side);
  }

  at::Tensor projected, padding, rel_h, rel_w;
};

template <dim HeadDim>
bool applies(at::ScalarType dtype) {
  return Operands<HeadDim>(1, 2, 2, 2, dtype).fused(2).has_value();
}

bool on_this_processor() {
  return cpu::own_kernels_enabled() && static_cast<bool>(cpu::find_relative_attention<float, 64>());
}

TEST_CASE("the kernel takes bf16 and fp32 at widths of whole registers, and nothing else") {
  const c10::InferenceMode inference;
  CHECK(applies<64>(at::kBFloat16) == on_this_processor());
  CHECK(applies<80>(at::kFloat) == on_this_processor());
  CHECK_FALSE(applies<64>(at::kHalf));
  CHECK_FALSE(applies<64>(at::kDouble));
  CHECK_FALSE(applies<6>(at::kFloat));
}

TEST_CASE("where a gradient is recorded the kernel is not used") {
  Operands<16> x(1, 2, 2, 2, at::kFloat);
  CHECK(x.fused(2).has_value() == on_this_processor());
  for (at::Tensor* t : {&x.projected, &x.padding, &x.rel_h, &x.rel_w}) {
    t->requires_grad_();
    CHECK_FALSE(x.fused(2).has_value());
    {
      const at::NoGradGuard none;
      CHECK(x.fused(2).has_value() == on_this_processor());
    }
    t->requires_grad_(false);
  }
}

/// The encoder's attention with the kernel, and in ATen's operators, which a gradient asks for.
template <SamConfig C>
void check_against_operators(dim side, dim table_rows) {
  CAPTURE(head_dim(C));
  CAPTURE(grid(C));
  CAPTURE(side);
  SamImageAttention<C> attention;
  attention.for_each_parameter("", side, [seed = 7](const std::string&, at::Tensor& t, const Shape& shape) mutable {
    t = random_tensor(shape, static_cast<std::uint64_t>(seed++)).div(std::sqrt(static_cast<double>(shape.back())));
  });
  attention.rel_pos_h = random_tensor({table_rows, head_dim(C)}, 5).mul(0.2);
  attention.rel_pos_w = random_tensor({table_rows, head_dim(C)}, 6).mul(0.2);
  const at::Tensor x = random_tensor({2, grid(C), grid(C), C.hidden}, 8);
  at::Tensor recorded = x.clone().requires_grad_();
  const at::Tensor operators = attention.forward(recorded, side).detach();
  const c10::InferenceMode inference;
  CHECK(relative_l2(attention.forward(x, side), operators) < 2e-6);
  SamImageAttention<C> narrow = attention;
  narrow.for_each_parameter("", side, [](const std::string&, at::Tensor& t, const Shape&) { t = t.to(at::kBFloat16); });
  CHECK(relative_l2(narrow.forward(x.to(at::kBFloat16), side), operators) < 2e-2);
}

TEST_CASE("the encoder's attention is the same with the kernel and in ATen's operators") {
  check_against_operators<with_head_dim(64, 9, 4)>(4, 7);
  check_against_operators<with_head_dim(80, 16, 14)>(14, 27);
  check_against_operators<with_head_dim(80, 20, 0)>(20, 39);
  check_against_operators<with_head_dim(16, 6, 0)>(6, 25);  // a table of another length is interpolated
  check_against_operators<with_head_dim(6, 5, 2)>(2, 3);    // no kernel: the operators in both cases
}

TEST_CASE("operands need not be contiguous") {
  const c10::InferenceMode inference;
  Operands<16> x(2, 5, 6, 3, at::kFloat);
  const auto plain = x.fused(3);
  x.projected = x.projected.transpose(0, 3).contiguous().transpose(0, 3);
  x.rel_w = x.rel_w.t().contiguous().t();
  REQUIRE_FALSE(x.projected.is_contiguous());
  const auto found = x.fused(3);
  REQUIRE(found.has_value() == on_this_processor());
  if (found) CHECK(largest_difference(*found, *plain) == 0);
}

}  // namespace
