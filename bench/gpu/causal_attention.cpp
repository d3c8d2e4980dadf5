// The language model's attention over a prompt: the kernel, ATen's SDPA, and the operators that write scores to memory.
#include "lisa/gpu/causal_attention.hpp"

#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "bench/gpu/timing.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/rounding_bounds.hpp"
#include "tests/support/tensor_compare.hpp"

namespace lisa::gpu_bench {
namespace {

/// What `causal_attention` computes without a kernel, of as many key heads as heads.
at::Tensor separate_operators(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const dim rows = query.size(1), keys = key.size(1);
  const at::Tensor scores = query.matmul(key.transpose(1, 2)).div_(std::sqrt(static_cast<double>(query.size(2))));
  const at::Tensor hidden = at::ones({rows, keys}, scores.options().dtype(at::kBool)).triu_(keys - rows + 1);
  return scores.masked_fill_(hidden, -std::numeric_limits<double>::infinity()).softmax(-1).matmul(value);
}

/// @param held positions in the cache before; SDPA, which knows no such thing, takes part without them
void bench(dim heads, dim head_dim, dim queries, dim held) {
  const std::string name = std::to_string(queries) + " positions behind " + std::to_string(held) + ", " +
                           std::to_string(heads) + " heads of " + std::to_string(head_dim) + ", bf16";
  const auto random = [&](dim rows, std::uint64_t seed) {
    return test::random_tensor({rows, heads, head_dim}, seed).to(at::kCUDA).to(at::kBFloat16).transpose(0, 1);
  };
  const at::Tensor query = random(queries, 1), key = random(held + queries, 2), value = random(held + queries, 3);
  const auto kernel = [&] { return gpu::causal_attention(query, key, value).value(); };
  const auto separate = [&] { return separate_operators(query, key, value); };
  const auto sdpa = [&] {
    return at::scaled_dot_product_attention(query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0), {}, 0.0,
                                            /*is_causal=*/true)[0];
  };
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const at::Tensor exact = separate_operators(wide(query), wide(key), wide(value));
  require_close(name + ", kernel", test::largest_difference(kernel(), exact),
                test::causal_attention_bound(query, key, value, 0x1p-8));
  // The scores are rounded too; the bound is that of the CPU's test of bf16 operators.
  require_close(name + ", separate operators", test::relative_l2(separate(), exact), 1.2e-2);
  std::vector<Contender> contenders{{"lisa::cuda", [&] { static_cast<void>(kernel()); }},
                                    {"separate operators", [&] { static_cast<void>(separate()); }}};
  if (held == 0) {
    require_close(name + ", SDPA", test::relative_l2(sdpa(), exact), 1.2e-2);
    contenders.push_back({"ATen SDPA", [&] { static_cast<void>(sdpa()); }});
  }
  compare_times(name, contenders);
}

}  // namespace

void bench_causal_attention() {
  bench(32, 128, 316, 0);
  bench(32, 128, 2048, 0);
  bench(32, 128, 40, 316);
}

}  // namespace lisa::gpu_bench
