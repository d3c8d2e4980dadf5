// Products with few rows: the kernel with weights of every format beside ATen's product with weights in bf16, whose
// bytes it has to read; and the gated result beside two products and two operators.
#include "lisa/gpu/gemv.hpp"

#include <ATen/ops/linear.h>
#include <ATen/ops/silu.h>

#include <string>
#include <vector>

#include "bench/gpu/timing.hpp"
#include "lisa/nn/quantised_linear.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/rounding_bounds.hpp"

namespace lisa::gpu_bench {
namespace {

using test::BoundedProduct;

constexpr double unit = 0x1p-8;

/// Products of ATen, which may round two partial sums to bf16.
at::Tensor bound_of_aten(const BoundedProduct& exact, const at::Tensor& x, const at::Tensor& weight) {
  const at::Tensor magnitude = x.to(at::kDouble).abs().matmul(weight.to(at::kDouble).abs().t());
  return exact.bound(unit).add(magnitude.mul(2 * unit));
}

void bench(dim rows, dim in, dim out) {
  const std::string name =
      std::to_string(rows) + " rows of " + std::to_string(in) + " with " + std::to_string(out) + " outputs, bf16";
  const at::Tensor x = test::random_tensor({rows, in}, 1).to(at::kCUDA).to(at::kBFloat16);
  const at::Tensor values = test::random_tensor({out, in}, 2).mul(0.05);
  const at::Tensor dense = values.to(at::kCUDA).to(at::kBFloat16);
  const auto exact = BoundedProduct::of(x, dense);
  require_close(name + ", ATen", test::largest_ratio(at::linear(x, dense), exact.value, bound_of_aten(exact, x, dense)),
                1);
  std::vector<Contender> contenders{{"ATen linear", [&] { static_cast<void>(at::linear(x, dense)); }}};
  if (rows <= gpu::gemv_rows(cuda::WeightStorage::element)) {
    require_close(name + ", kernel", test::largest_ratio(gpu::gemv(x, dense).value(), exact.value, exact.bound(unit)),
                  1);
    contenders.push_back({"lisa::cuda", [&] { static_cast<void>(gpu::gemv(x, dense).value()); }});
  }
  for (const auto& [format, format_name] : weight_format_names) {
    if (format == WeightFormat::nf4_group64) continue;  // not the kernel's
    const at::Tensor stored = quantised(values, format).to(at::kCUDA);
    const auto of_stored = BoundedProduct::of(x, dequantised_tensor(stored, format, in, 0, out));
    const std::string contender = "lisa::cuda, weights " + std::string(format_name);
    require_close(name + ", " + contender,
                  test::largest_ratio(gpu::gemv(x, stored).value(), of_stored.value, of_stored.bound(unit)), 1);
    contenders.push_back({contender, [&x, stored] { static_cast<void>(gpu::gemv(x, stored).value()); }});
  }
  compare_times(name, contenders);
}

void bench_gated(dim in, dim out) {
  const std::string name = "gate and up of one row of " + std::to_string(in) + ", bf16";
  const at::Tensor x = test::random_tensor({1, in}, 1).to(at::kCUDA).to(at::kBFloat16);
  const auto weight = [&](std::uint64_t seed) {
    return test::random_tensor({out, in}, seed).mul(0.05).to(at::kCUDA).to(at::kBFloat16);
  };
  const at::Tensor gate = weight(2), up = weight(3);
  const auto kernel = [&] { return gpu::gated_gemv(x, gate, up).value(); };
  const auto separate = [&] { return at::silu(at::linear(x, gate)).mul_(at::linear(x, up)); };
  const BoundedProduct of_gate = BoundedProduct::of(x, gate), of_up = BoundedProduct::of(x, up);
  const BoundedProduct exact = test::gated_product(of_gate, of_up);
  require_close(name + ", kernel", test::largest_ratio(kernel(), exact.value, exact.bound(unit)), 1);
  // Both products, silu and the result are rounded.
  const BoundedProduct rounded =
      test::gated_product({of_gate.value, bound_of_aten(of_gate, x, gate)}, {of_up.value, bound_of_aten(of_up, x, up)});
  require_close(name + ", ATen", test::largest_ratio(separate(), rounded.value, rounded.bound(2 * unit)), 1);
  compare_times(name, {{"lisa::cuda", [&] { static_cast<void>(kernel()); }},
                       {"ATen linear, silu, mul", [&] { static_cast<void>(separate()); }}});
}

}  // namespace

void bench_gemv() {
  for (const dim rows : {dim{1}, dim{4}, dim{8}}) {
    bench(rows, 4096, 4096);
    bench(rows, 11008, 4096);
  }
  bench_gated(4096, 11008);
}

}  // namespace lisa::gpu_bench
