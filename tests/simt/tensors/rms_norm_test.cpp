// A norm's way from tensors to its kernel, against RmsNorm by ATen's operators.
#include "lisa/nn/rms_norm.hpp"

#include "launch.hpp"
#include "lisa/gpu/rms_norm.hpp"
#include "rms_norm_kernels.hpp"
#include "tensor_memory.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/rounding_bounds.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using simt::dtype_of;

/// @param added whether a residual is added in front
template <class Element, dim width>
void check(const Shape& rows, bool added) {
  CAPTURE(width);
  CAPTURE(added);
  constexpr double eps = 0.25;  // large enough beside the squares to be seen
  Shape shape = rows;
  shape.push_back(width);
  const at::Tensor x = test::random_tensor(shape, 1, dtype_of<Element>).mul(1.5);
  const at::Tensor more = test::random_tensor(shape, 2, dtype_of<Element>);
  const at::Tensor weight = test::random_tensor({width}, 3).mul(0.2).add(1).to(dtype_of<Element>);

  simt::Memory memory;
  gpu::RmsNormTensors tensors{.x = simt::in_memory(memory, x, "x"),
                              .added = added ? simt::in_memory(memory, more, "added") : at::Tensor(),
                              .weight = simt::in_memory(memory, weight, "weight"),
                              .sum = added ? simt::output_tensor<Element>(memory, shape, "sum") : at::Tensor(),
                              .out = simt::output_tensor<Element>(memory, shape, "out")};
  const auto arguments = gpu::rms_norm_arguments<Element>(tensors, eps);
  REQUIRE(cuda::rms_norm_refusal(arguments) == nullptr);
  const auto kernel = cuda::rms_norm_chunk(arguments) == 1 ? simt::rms_norm<Element, 1> : simt::rms_norm<Element, 8>;
  const simt::Report report = simt::launch(memory, cuda::rms_norm_geometry(arguments), kernel, arguments);
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(memory.unwritten_bytes(arguments.out) == 0);

  const at::Tensor sum = added ? x.add(more) : x;
  if (added) CHECK(tensors.sum.equal(sum));
  const RmsNorm<width> reference{.eps = eps, .weight = weight.to(at::kDouble)};
  const at::Tensor exact = reference.forward(sum.to(at::kDouble));
  CHECK(test::largest_ratio(tensors.out, exact, test::rms_norm_bound(exact, weight, simt::unit_roundoff<Element>)) <=
        1);
}

TEST_CASE("a norm of rows, with and without a residual in front, is that of ATen") {
  check<Bf16, 264>({3}, false);
  check<Fp16, 33>({2, 2}, false);
  check<Bf16, 4096>({1}, true);
  check<Fp16, 511>({3}, true);
}

TEST_CASE("RmsNorm adds a residual as ATen does where no kernel is") {
  const at::Tensor x = test::random_tensor({3, 64}, 1, at::kBFloat16),
                   added = test::random_tensor({3, 64}, 2, at::kBFloat16);
  const RmsNorm<64> norm{.eps = 1e-6, .weight = test::random_tensor({64}, 3, at::kBFloat16)};
  const auto [sum, normalised] = norm.forward(x, added);
  CHECK(sum.equal(x.add(added)));
  CHECK(normalised.equal(norm.forward(x.add(added))));
}

}  // namespace
