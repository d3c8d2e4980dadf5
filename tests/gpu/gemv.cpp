// Products with few rows by the kernel, and those of quantised weights that ATen does with restored ones.
#include "lisa/gpu/gemv.hpp"

#include <optional>
#include <string>

#include "lisa/nn/linear_operator.hpp"
#include "tests/gpu/checks.hpp"
#include "tests/support/rounding_bounds.hpp"

namespace lisa::gpu_test {
namespace {

using test::BoundedProduct;

struct Case {
  const char* name;
  dim rows, in, out;
};

/// What the kernel takes of weights as they are, up to four rows; quantised ones up to eight, if `in` has whole groups.
constexpr Case few_rows[] = {
    {"one output", 1, 128, 1},
    {"outputs without a neighbour", 3, 640, 33},
    {"LLaMA-7B, o_proj", 1, 4096, 4096},
    {"LLaMA-7B, down_proj", 4, 11008, 4096},
};

/// A weight as the model holds it, and as numbers, on the GPU.
struct Weight {
  at::Tensor stored, values;

  static Weight make(dim out, dim in, std::uint64_t seed, at::ScalarType dtype, std::optional<WeightFormat> format) {
    const at::Tensor values = test::random_tensor({out, in}, seed).mul(0.05);
    if (!format) return {values.to(at::kCUDA).to(dtype), values.to(at::kCUDA).to(dtype)};
    const at::Tensor stored = quantised(values, *format);
    return {stored.to(at::kCUDA), detail::dequantised_rows(stored, in, 0, out).to(at::kCUDA)};
  }
};

struct Element {
  at::ScalarType dtype;
  double unit;
};
constexpr Element elements[] = {{at::kBFloat16, 0x1p-8}, {at::kHalf, 0x1p-11}};

std::string title(const char* what, const Case& c, const Element& element, std::optional<WeightFormat> format) {
  return std::string("gemv, ") + what + ", " + c.name + (element.dtype == at::kHalf ? ", fp16" : ", bf16") +
         (format ? ", weights " + std::string(to_string(*format)) : "");
}

void check_kernel(Checks& checks, const Case& c, const Element& element, std::optional<WeightFormat> format) {
  const at::Tensor x = random_on_gpu({c.rows, c.in}, 1, element.dtype);
  const Weight weight = Weight::make(c.out, c.in, 2, element.dtype, format);
  const Weight up = Weight::make(c.out, c.in, 3, element.dtype, format);
  const at::Tensor bias = random_on_gpu({c.out}, 4, element.dtype);
  const at::Tensor residual = random_on_gpu({c.rows, c.out}, 5, element.dtype);
  const auto within = [&](const char* what, const std::optional<at::Tensor>& found, const BoundedProduct& exact) {
    const std::string name = title(what, c, element, format);
    if (found)
      checks.within(name, test::largest_ratio(*found, exact.value, exact.bound(element.unit)), 1);
    else
      checks.equal(name + ": taken by the kernel", false);
  };
  within("product", gpu::gemv(x, weight.stored), BoundedProduct::of(x, weight.values));
  within("with a bias", gpu::gemv(x, weight.stored, bias), BoundedProduct::of(x, weight.values, bias));
  within("behind a residual", gpu::gemv(x, weight.stored, residual), BoundedProduct::of(x, weight.values, residual));
  within("gated", gpu::gated_gemv(x, weight.stored, up.stored),
         test::gated_product(BoundedProduct::of(x, weight.values), BoundedProduct::of(x, up.values)));
}

/// What ATen computes with restored weights: these are rounded to x's dtype, and so may two partial sums be, which
/// cuBLAS is free to do.
void check_restored(Checks& checks, const Case& c, const Element& element, WeightFormat format) {
  const at::Tensor x = random_on_gpu({c.rows, c.in}, 1, element.dtype);
  const Weight weight = Weight::make(c.out, c.in, 2, element.dtype, format);
  checks.equal(title("restored weights", c, element, format),
               dequantised_tensor(weight.stored, format, c.in, 0, c.out).equal(weight.values));
  const BoundedProduct exact = BoundedProduct::of(x, weight.values);
  const at::Tensor magnitude = x.to(at::kDouble).abs().matmul(weight.values.to(at::kDouble).abs().t());
  checks.within(title("product of restored weights", c, element, format),
                test::largest_ratio(apply_linear(x, weight.stored), exact.value,
                                    exact.bound(element.unit).add(magnitude.mul(3 * element.unit))),
                1);
}

}  // namespace

void check_gemv(Checks& checks) {
  for (const Element& element : elements) {
    for (const Case& c : few_rows) {
      check_kernel(checks, c, element, std::nullopt);
      check_kernel(checks, c, element, WeightFormat::int8_row);
      check_kernel(checks, c, element, WeightFormat::int4_group32);
      check_kernel(checks, c, element, WeightFormat::int4_group128);
    }
    check_kernel(checks, {"eight rows", 8, 4096, 1000}, element, WeightFormat::int4_group32);
    check_restored(checks, {"one row", 1, 4096, 4096}, element, WeightFormat::nf4_group64);
    check_restored(checks, {"rows of no whole group", 2, 200, 77}, element, WeightFormat::int4_group32);
    for (const auto& [format, name] : weight_format_names)
      check_restored(checks, {"many rows, in parts", 40, 4096, 11008}, element, format);
  }
}

}  // namespace lisa::gpu_test
