// Attention with relative positions at the sizes of Segment Anything: the kernel, ATen's SDPA with the bias built
// beforehand as one dense mask, and the original's algorithm. The peers get padded windows' queries, keys and values
// for nothing, SDPA its bias as well.
#include "lisa/gpu/relative_attention.hpp"

#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <string>

#include "bench/gpu/dense_bias.hpp"
#include "bench/gpu/timing.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
#include "tests/support/windowed_attention.hpp"

namespace lisa::gpu_bench {
namespace {

void bench(const char* name, dim heads, dim head_dim, dim grid, dim side) {
  const dim hidden = heads * head_dim;
  const auto random = [](const Shape& shape, std::uint64_t seed) {
    return test::random_tensor(shape, seed).to(at::kCUDA).to(at::kBFloat16);
  };
  const at::Tensor projected = random({1, grid, grid, 3 * hidden}, 1), padding = random({3 * hidden}, 2);
  const at::Tensor rel_h = random({2 * side - 1, head_dim}, 3).mul(0.2);
  const at::Tensor rel_w = random({2 * side - 1, head_dim}, 4).mul(0.2);
  const at::Tensor windows = test::attention_windows(projected, padding, head_dim, side);
  const at::Tensor q = windows.select(0, 0).view({-1, side, side, head_dim});
  const at::Tensor k = windows.select(0, 1), v = windows.select(0, 2);
  const at::Tensor by_row = relative_positions(rel_h, side), by_column = relative_positions(rel_w, side);
  const at::Tensor bias = dense_bias(q, by_row, by_column);
  const auto kernel = [&] { return gpu::relative_attention(projected, padding, rel_h, rel_w, head_dim, side).value(); };
  const auto sdpa = [&] {
    return at::scaled_dot_product_attention(windows.select(0, 0).unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1), bias);
  };
  constexpr dim all_at_once = dim{1} << 50;  // parts that fit a core's cache would be thousands of launches
  const auto original = [&] { return relative_attention(q, k, v, by_row, by_column, all_at_once); };

  // The peers round scores, bias and their sums to bf16; the bound is that of the CPU's comparison of bf16 operators.
  const at::Tensor exact = test::windowed_attention(projected.to(at::kDouble), padding.to(at::kDouble),
                                                    rel_h.to(at::kDouble), rel_w.to(at::kDouble), head_dim, side);
  const auto as_grid = [&](const at::Tensor& t) { return test::grid_of_windows(t, 1, grid, grid, side); };
  const double largest = std::max(projected.abs().max().item<double>(), padding.abs().max().item<double>());
  require_close(name + std::string(", kernel"), test::largest_difference(kernel(), exact),
                test::attention_bound(0x1p-8, largest));
  require_close(name + std::string(", SDPA"), test::relative_l2(as_grid(sdpa().squeeze(1)), exact), 3e-2);
  require_close(name + std::string(", original"), test::relative_l2(as_grid(original()), exact), 3e-2);
  compare_times(name, {{"lisa::cuda", [&] { static_cast<void>(kernel()); }},
                       {"ATen SDPA, dense bias given", [&] { static_cast<void>(sdpa()); }},
                       {"the original's operators", [&] { static_cast<void>(original()); }}});
}

}  // namespace

void bench_relative_attention() {
  bench("SAM-H, whole grid, 16 heads of 80, bf16", 16, 80, 64, 64);
  bench("SAM-H, windows of 14, 16 heads of 80, bf16", 16, 80, 64, 14);
  bench("SAM-B, whole grid, 12 heads of 64, bf16", 12, 64, 64, 64);
  bench("SAM-B, windows of 14, 12 heads of 64, bf16", 12, 64, 64, 14);
}

}  // namespace lisa::gpu_bench
