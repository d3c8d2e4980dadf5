#include "lisa/gpu/relative_attention.hpp"

#include <algorithm>
#include <string>

#include "tests/gpu/checks.hpp"
#include "tests/support/tensor_compare.hpp"
#include "tests/support/windowed_attention.hpp"

namespace lisa::gpu_test {
namespace {

struct Case {
  const char* name;
  dim batch, heads, height, width, head_dim, side;
};

constexpr Case cases[] = {
    {"one token", 1, 1, 1, 1, 64, 1},
    {"5 x 5 whole", 2, 3, 5, 5, 80, 5},
    {"33 x 33 whole", 1, 2, 33, 33, 64, 33},
    {"63 x 63 whole", 1, 1, 63, 63, 80, 63},
    {"SAM-H, whole", 1, 16, 64, 64, 80, 64},
    {"SAM-B, whole", 2, 12, 64, 64, 64, 64},
    {"one window, clipped both ways", 1, 2, 13, 3, 64, 14},
    {"15 x 29 in windows", 2, 2, 15, 29, 80, 14},
    {"SAM-H, windows", 1, 16, 64, 64, 80, 14},
    {"SAM-B, windows", 2, 12, 64, 64, 64, 14},
};

/// What only the reference takes.
constexpr Case reference_cases[] = {
    {"narrow heads, 5 x 9 in windows", 2, 3, 5, 9, 20, 4},
    {"wide heads, 6 x 6 whole", 1, 2, 6, 6, 128, 6},
};

double bound(const Case& c, const at::Tensor& projected, const at::Tensor& padding, const at::Tensor& rel_h,
             const at::Tensor& rel_w) {
  const double largest = std::max(projected.abs().max().item<double>(), padding.abs().max().item<double>());
  if (projected.scalar_type() == at::kFloat)
    return test::fp32_attention_bound(projected, padding, rel_h, rel_w, c.head_dim, c.side, largest);
  return test::attention_bound(projected.scalar_type() == at::kHalf ? 0x1p-11 : 0x1p-8, largest);
}

void check(Checks& checks, const Case& c, at::ScalarType dtype) {
  const std::string name = std::string("attention, ") + c.name + ", " + std::string(c10::toString(dtype));
  const dim hidden = c.heads * c.head_dim;
  const at::Tensor projected = random_on_gpu({c.batch, c.height, c.width, 3 * hidden}, 1, dtype);
  const at::Tensor padding = random_on_gpu({3 * hidden}, 2, dtype);
  const at::Tensor rel_h = random_on_gpu({2 * c.side - 1, c.head_dim}, 3).mul(0.2).to(dtype);
  const at::Tensor rel_w = random_on_gpu({2 * c.side - 1, c.head_dim}, 4).mul(0.2).to(dtype);
  const auto found = gpu::relative_attention(projected, padding, rel_h, rel_w, c.head_dim, c.side);
  if (!found) {
    checks.equal(name + ": taken by a kernel", false);
    return;
  }
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const at::Tensor reference =
      test::windowed_attention(wide(projected), wide(padding), wide(rel_h), wide(rel_w), c.head_dim, c.side);
  checks.within(name, test::largest_difference(*found, reference), bound(c, projected, padding, rel_h, rel_w));
}

}  // namespace

void check_relative_attention(Checks& checks) {
  for (const Case& c : cases) {
    check(checks, c, at::kBFloat16);
    check(checks, c, at::kHalf);
    check(checks, c, at::kFloat);
  }
  for (const Case& c : reference_cases) check(checks, c, at::kFloat);
}

}  // namespace lisa::gpu_test
