#include "lisa/gpu/rms_norm.hpp"

#include <string>

#include "tests/gpu/checks.hpp"
#include "tests/support/rounding_bounds.hpp"

namespace lisa::gpu_test {
namespace {

struct Case {
  const char* name;
  dim rows, width;
};

constexpr Case cases[] = {
    {"one element", 1, 1},         {"rows at any address", 3, 33},    {"a row beyond a block's first vectors", 2, 4104},
    {"LLaMA-7B, a step", 1, 4096}, {"LLaMA-7B, a prompt", 316, 4096},
};

void check(Checks& checks, const Case& c, at::ScalarType dtype, double unit) {
  const std::string name = std::string("rms_norm, ") + c.name + (dtype == at::kHalf ? ", fp16" : ", bf16");
  constexpr double eps = 1e-5;
  const at::Tensor x = random_on_gpu({c.rows, c.width}, 1, dtype), added = random_on_gpu({c.rows, c.width}, 2, dtype);
  const at::Tensor weight = random_on_gpu({c.width}, 3).mul(0.1).add(1).to(dtype);
  const auto alone = gpu::rms_norm(x, weight, eps);
  const auto behind = gpu::add_rms_norm(x, added, weight, eps);
  if (!alone || !behind) {
    checks.equal(name + ": taken by a kernel", false);
    return;
  }
  const auto within = [&](const std::string& what, const at::Tensor& found, const at::Tensor& rows) {
    const at::Tensor wide = rows.to(at::kDouble);
    const at::Tensor exact =
        wide.div(wide.square().mean(-1, /*keepdim=*/true).add(eps).sqrt()).mul(weight.to(at::kDouble));
    checks.within(what, test::largest_ratio(found, exact, test::rms_norm_bound(exact, weight, unit)), 1);
  };
  within(name, *alone, x);
  checks.equal(name + ", a residual's sum", behind->sum.equal(x.add(added)));
  within(name + ", behind a residual", behind->normalised, behind->sum);
}

}  // namespace

void check_rms_norm(Checks& checks) {
  for (const Case& c : cases) {
    check(checks, c, at::kBFloat16, 0x1p-8);
    check(checks, c, at::kHalf, 0x1p-11);
  }
}

}  // namespace lisa::gpu_test
