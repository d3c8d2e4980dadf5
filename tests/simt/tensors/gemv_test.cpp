// The way of products with few rows from tensors to their kernel, against ATen's products with the weights as numbers.
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "gemv_kernels.hpp"
#include "launch.hpp"
#include "lisa/gpu/gemv.hpp"
#include "lisa/nn/quantised_linear.hpp"
#include "tensor_memory.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/rounding_bounds.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using lisa::cuda::WeightStorage;
using lisa::test::BoundedProduct;
using simt::dtype_of;

struct Case {
  dim rows, in, out;
  std::optional<WeightFormat> format = std::nullopt;  ///< none: bf16 or fp16
};

/// A weight as the model holds it, and as numbers.
struct Weight {
  at::Tensor stored, values;

  template <class Element>
  static Weight make(const Case& c, std::uint64_t seed) {
    const at::Tensor values = test::random_tensor({c.out, c.in}, seed, dtype_of<Element>).mul(0.5);
    if (!c.format) return {values, values};
    const at::Tensor stored = quantised(values, *c.format);
    return {stored, lisa::detail::dequantised_rows(stored, c.in, 0, c.out)};
  }
};

template <class Element, class Weights>
simt::Report run_with(simt::Memory& memory, const cuda::GemvArguments<Element>& arguments) {
  const auto kernel = arguments.rows == 1 ? simt::gemv<Element, Weights, 1> : simt::gemv<Element, Weights, 8>;
  return simt::launch(memory, cuda::gemv_geometry(arguments), kernel, arguments);
}

/// @param tensors in the emulator's memory
template <class Element>
at::Tensor run(simt::Memory& memory, const gpu::GemvTensors& tensors) {
  const auto storage = gpu::weight_storage(tensors.weight, tensors.x.size(1));
  REQUIRE(storage.has_value());
  auto arguments = gpu::gemv_arguments<Element>(tensors, *storage);
  REQUIRE(cuda::gemv_refusal(arguments) == nullptr);
  const at::Tensor out = simt::output_tensor<Element>(memory, {tensors.x.size(0), tensors.weight.size(0)}, "out");
  arguments.out[0].begin = gpu::mutable_elements_of<Element>(out);
  const simt::Report report =
      *storage == WeightStorage::element        ? run_with<Element, cuda::ElementWeights<Element>>(memory, arguments)
      : *storage == WeightStorage::int8_row     ? run_with<Element, cuda::Int8Weights>(memory, arguments)
      : *storage == WeightStorage::int4_group32 ? run_with<Element, cuda::Int4Weights<32>>(memory, arguments)
                                                : run_with<Element, cuda::Int4Weights<128>>(memory, arguments);
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(memory.unwritten_bytes(out.const_data_ptr()) == 0);
  return out;
}

/// @param added undefined, [out], or [rows, out]
template <class Element>
void check_sum(const Case& c, const at::Tensor& added = {}) {
  CAPTURE(c.in);
  CAPTURE(c.rows);
  const at::Tensor x = test::random_tensor({c.rows, c.in}, 1, dtype_of<Element>);
  const Weight weight = Weight::make<Element>(c, 2);
  simt::Memory memory;
  const at::Tensor found =
      run<Element>(memory, {.x = simt::in_memory(memory, x, "x"),
                            .weight = simt::in_memory(memory, weight.stored, "weight"),
                            .up = {},
                            .added = added.defined() ? simt::in_memory(memory, added, "added") : at::Tensor()});
  const auto exact = BoundedProduct::of(x, weight.values, added.defined() ? std::optional(added) : std::nullopt);
  CHECK(test::largest_ratio(found, exact.value, exact.bound(simt::unit_roundoff<Element>)) <= 1);
}

template <class Element>
void check_gated(const Case& c) {
  CAPTURE(c.in);
  CAPTURE(c.rows);
  const at::Tensor x = test::random_tensor({c.rows, c.in}, 1, dtype_of<Element>);
  const Weight gate = Weight::make<Element>(c, 2), up = Weight::make<Element>(c, 3);
  simt::Memory memory;
  const at::Tensor found = run<Element>(memory, {.x = simt::in_memory(memory, x, "x"),
                                                 .weight = simt::in_memory(memory, gate.stored, "gate"),
                                                 .up = simt::in_memory(memory, up.stored, "up"),
                                                 .added = {}});
  const auto exact = test::gated_product(BoundedProduct::of(x, gate.values), BoundedProduct::of(x, up.values));
  CHECK(test::largest_ratio(found, exact.value, exact.bound(simt::unit_roundoff<Element>)) <= 1);
}

TEST_CASE("a product of few rows with weights of every format that the kernel has is that of ATen") {
  check_sum<Bf16>({1, 264, 17});
  check_sum<Fp16>({4, 40, 3});
  check_sum<Bf16>({3, 48, 5, WeightFormat::int8_row});
  check_sum<Fp16>({1, 528, 2, WeightFormat::int8_row});
  check_sum<Bf16>({1, 544, 3, WeightFormat::int4_group32});
  check_sum<Fp16>({8, 96, 5, WeightFormat::int4_group32});
  check_sum<Bf16>({2, 640, 3, WeightFormat::int4_group128});
}

TEST_CASE("a bias is added to every row, a residual to its own") {
  check_sum<Bf16>({3, 64, 7}, test::random_tensor({7}, 4, at::kBFloat16).mul(3));
  check_sum<Fp16>({2, 64, 6, WeightFormat::int8_row}, test::random_tensor({2, 6}, 5, at::kHalf).mul(3));
}

TEST_CASE("a bias stays one row, a residual becomes rows, and other extents are left to ATen") {
  const auto shape = [](const Shape& of, const Shape& result) {
    const auto rows = gpu::detail::added_rows(of.empty() ? at::Tensor() : test::random_tensor(of, 1), result);
    return rows && rows->defined() ? rows->sizes().vec() : std::vector<dim>{};
  };
  CHECK((shape({7}, {2, 3, 7}) == Shape{7}));
  CHECK((shape({2, 3, 7}, {2, 3, 7}) == Shape{6, 7}));
  CHECK((shape({3, 7}, {3, 7}) == Shape{3, 7}));
  CHECK((shape({7}, {7}) == Shape{7}));
  CHECK((shape({}, {3, 7}).empty()));
  CHECK(gpu::detail::added_rows({}, Shape{3, 7}).has_value());
  for (const Shape& other : {Shape{1}, Shape{6}, Shape{1, 7}, Shape{3, 6}, Shape{3, 1}})
    CHECK_FALSE(gpu::detail::added_rows(test::random_tensor(other, 1), Shape{3, 7}).has_value());
}

TEST_CASE("gate and up become one gated result") {
  check_gated<Bf16>({2, 72, 5});
  check_gated<Fp16>({1, 160, 9, WeightFormat::int4_group32});
}

TEST_CASE("weights and shapes that the kernel does not take are left to ATen") {
  const at::Tensor values = test::random_tensor({6, 256}, 1);
  const auto storage = [&](WeightFormat format) { return gpu::weight_storage(quantised(values, format), 256); };
  CHECK(storage(WeightFormat::int8_row) == WeightStorage::int8_row);
  CHECK(storage(WeightFormat::int4_group32) == WeightStorage::int4_group32);
  CHECK(storage(WeightFormat::int4_group128) == WeightStorage::int4_group128);
  CHECK_FALSE(storage(WeightFormat::nf4_group64).has_value());
  const at::Tensor weight = values.to(at::kBFloat16);
  CHECK(gpu::weight_storage(weight, 256) == WeightStorage::element);
  CHECK_FALSE(gpu::weight_storage(weight, 255).has_value());
  CHECK_FALSE(gpu::weight_storage(weight.t(), 6).has_value());  // not in one piece
  CHECK_FALSE(gpu::weight_storage(weight.view({-1}), 256).has_value());
  CHECK_FALSE(gpu::weight_storage(quantised(values, WeightFormat::int8_row), 250).has_value());

  const auto refused = [](const at::Tensor& x, const at::Tensor& w) {
    const auto arguments = gpu::gemv_arguments<Bf16>({.x = x, .weight = w, .up = {}, .added = {}},
                                                     gpu::weight_storage(w, x.size(1)).value());
    return cuda::gemv_refusal(arguments) != nullptr;
  };
  const auto rows = [](dim count, dim in) { return test::random_tensor({count, in}, 2, at::kBFloat16); };
  CHECK_FALSE(refused(rows(8, 256), weight));
  CHECK(refused(rows(9, 256), weight));
  CHECK(refused(rows(1, 100), test::random_tensor({6, 100}, 1, at::kBFloat16)));
  CHECK(refused(rows(1, 200), quantised(test::random_tensor({6, 200}, 1), WeightFormat::int4_group32)));
  CHECK(refused(rows(1, 160), quantised(test::random_tensor({6, 160}, 1), WeightFormat::int4_group128)));
  CHECK(refused(rows(1, 257).narrow(1, 1, 256), weight));  // starts between two vectors
}

}  // namespace
