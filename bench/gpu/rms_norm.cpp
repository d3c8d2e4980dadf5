// LLaMA's norm: the kernel, ATen's fused operator, and the norm written in ATen's operators; alone and behind a
// residual's addition.
#include "lisa/gpu/rms_norm.hpp"

#include <ATen/ops/rms_norm.h>

#include <string>

#include "bench/gpu/timing.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/rounding_bounds.hpp"

namespace lisa::gpu_bench {
namespace {

constexpr dim width = 4096;
constexpr double eps = 1e-5;

/// What `RmsNorm` computes without a kernel.
at::Tensor separate_operators(const at::Tensor& x, const at::Tensor& weight) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor scale = wide.square().mean(-1, /*keepdim=*/true).add(eps).rsqrt();
  return weight.mul(wide.mul(scale).to(x.scalar_type()));
}

void bench(dim rows) {
  const std::string name = "rms_norm, " + std::to_string(rows) + " rows of 4096, bf16";
  const auto random = [](const Shape& shape, std::uint64_t seed) {
    return test::random_tensor(shape, seed).to(at::kCUDA).to(at::kBFloat16);
  };
  const at::Tensor x = random({rows, width}, 1), added = random({rows, width}, 2);
  const at::Tensor weight = random({width}, 3).mul(0.1).add(1);
  const auto kernel = [&] { return gpu::rms_norm(x, weight, eps).value(); };
  const auto behind = [&] { return gpu::add_rms_norm(x, added, weight, eps).value(); };
  const auto fused = [&](const at::Tensor& of) { return at::rms_norm(of, {width}, weight, eps); };

  // ATen's fused operator rounds once, the others twice.
  const auto ratio = [&](const at::Tensor& found, const at::Tensor& of) {
    const at::Tensor exact = at::rms_norm(of.to(at::kDouble), {width}, weight.to(at::kDouble), eps);
    return test::largest_ratio(found, exact, test::rms_norm_bound(exact, weight, 0x1p-8));
  };
  require_close(name + ", kernel", ratio(kernel(), x), 1);
  require_close(name + ", kernel behind a residual", ratio(behind().normalised, x.add(added)), 1);
  require_close(name + ", ATen", ratio(fused(x), x), 1);
  require_close(name + ", separate operators", ratio(separate_operators(x, weight), x), 1);
  compare_times(name, {{"lisa::cuda", [&] { static_cast<void>(kernel()); }},
                       {"ATen rms_norm", [&] { static_cast<void>(fused(x)); }},
                       {"separate operators", [&] { static_cast<void>(separate_operators(x, weight)); }},
                       {"lisa::cuda, behind a residual", [&] { static_cast<void>(behind()); }},
                       {"ATen add and rms_norm", [&] { static_cast<void>(fused(x.add(added))); }}});
}

}  // namespace

void bench_rms_norm() {
  bench(1);
  bench(316);
}

}  // namespace lisa::gpu_bench
