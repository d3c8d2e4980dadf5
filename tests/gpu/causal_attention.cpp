#include "lisa/gpu/causal_attention.hpp"

#include <string>

#include "lisa/nn/causal_attention.hpp"
#include "tests/gpu/checks.hpp"
#include "tests/support/rounding_bounds.hpp"
#include "tests/support/tensor_compare.hpp"

namespace lisa::gpu_test {
namespace {

struct Case {
  const char* name;
  dim heads, kv_heads, queries, keys, head_dim;
};

constexpr Case cases[] = {
    {"one position", 1, 1, 1, 1, 64},
    {"heads that share keys", 6, 2, 65, 65, 64},
    {"behind a cached prefix", 4, 4, 70, 333, 128},
    {"one row behind a cached prefix", 8, 2, 1, 129, 128},
    {"LLaMA-7B, a prompt", 32, 32, 316, 316, 128},
    {"a long prompt", 32, 8, 2049, 2049, 128},
};

void check(Checks& checks, const Case& c, at::ScalarType dtype, double unit) {
  const std::string name = std::string("causal attention, ") + c.name + ", " + std::string(c10::toString(dtype));
  // Rows of a projection's output, and of a cache with room to spare.
  const at::Tensor query = random_on_gpu({c.queries, c.heads, c.head_dim}, 1, dtype).transpose(0, 1);
  const auto cached = [&](std::uint64_t seed) {
    return random_on_gpu({c.kv_heads, c.keys + 9, c.head_dim}, seed, dtype).narrow(1, 0, c.keys);
  };
  const at::Tensor key = cached(2), value = cached(3);
  const auto found = gpu::causal_attention(query, key, value);
  if (!found) {
    checks.equal(name + ": taken by a kernel", false);
    return;
  }
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  checks.within(name, test::largest_difference(*found, causal_attention(wide(query), wide(key), wide(value))),
                test::causal_attention_bound(query, key, value, unit));
}

}  // namespace

void check_causal_attention(Checks& checks) {
  for (const Case& c : cases) {
    check(checks, c, at::kBFloat16, 0x1p-8);
    check(checks, c, at::kHalf, 0x1p-11);
    check(checks, c, at::kFloat, 0x1p-24);
  }
}

}  // namespace lisa::gpu_test
