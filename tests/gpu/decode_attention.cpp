#include "lisa/gpu/decode_attention.hpp"

#include <ATen/ops/equal.h>

#include <string>

#include "lisa/nn/causal_attention.hpp"
#include "lisa/nn/decode_position.hpp"
#include "lisa/nn/rotary.hpp"
#include "tests/gpu/checks.hpp"
#include "tests/support/tensor_compare.hpp"
#include "tests/support/windowed_attention.hpp"

namespace lisa::gpu_test {
namespace {

struct Case {
  const char* name;
  dim heads, kv_heads, capacity, position;
};

constexpr Case cases[] = {
    {"first position", 4, 4, 100, 0},          {"63 held", 4, 2, 100, 63},
    {"64 held, shared keys", 16, 1, 200, 64},  {"the cache's last row", 3, 3, 130, 129},
    {"LLaMA-7B, 316 held", 32, 32, 2048, 316}, {"LLaMA-7B, full", 32, 32, 2048, 2047},
};

template <dim HeadDim>
void check_attention(Checks& checks, const Case& c, at::ScalarType dtype, double unit) {
  const std::string name = "decode attention, " + std::string(c.name) + ", heads of " + std::to_string(HeadDim) +
                           (dtype == at::kHalf ? ", fp16" : ", bf16");
  const at::Tensor q = random_on_gpu({c.heads, HeadDim}, 1, dtype), k = random_on_gpu({c.kv_heads, HeadDim}, 2, dtype);
  const at::Tensor v = random_on_gpu({c.kv_heads, HeadDim}, 3, dtype);
  const at::Tensor keys = random_on_gpu({c.kv_heads, c.capacity, HeadDim}, 4, dtype);
  const at::Tensor values = random_on_gpu({c.kv_heads, c.capacity, HeadDim}, 5, dtype);
  const auto rotary = RotaryEmbedding<HeadDim>::make(c.capacity, 1e4, q.options());
  DecodePosition position(q.device());
  position.set(c.position);
  const at::Tensor new_keys = keys.clone(), new_values = values.clone();
  new_keys.narrow(1, c.position, 1).copy_(rotary.rotate(k.unsqueeze(1), c.position));
  new_values.narrow(1, c.position, 1).copy_(v.unsqueeze(1));
  const auto found = gpu::decode_attention({q, k, v, rotary.cosine, rotary.sine, keys, values, position.sequence()});
  if (!found) {
    checks.equal(name + ": taken by a kernel", false);
    return;
  }
  const auto seen = [&](const at::Tensor& t) { return t.narrow(1, 0, c.position + 1).to(at::kDouble); };
  const at::Tensor reference =
      causal_attention(rotary.rotate(q.unsqueeze(1), c.position).to(at::kDouble), seen(new_keys), seen(new_values));
  checks.within(name, test::largest_difference(*found, reference.squeeze(1)),
                test::attention_bound(unit, new_values.abs().max().item<double>()));
  checks.equal(name + ", cache", at::equal(keys, new_keys) && at::equal(values, new_values));
}

}  // namespace

void check_decode_attention(Checks& checks) {
  for (const Case& c : cases) {
    check_attention<64>(checks, c, at::kBFloat16, 0x1p-8);
    check_attention<128>(checks, c, at::kBFloat16, 0x1p-8);
    check_attention<128>(checks, c, at::kHalf, 0x1p-11);
  }
}

}  // namespace lisa::gpu_test
