// Attention of one new token of LLaMA-7B over the cache, in bf16.
#include <ATen/ops/scaled_dot_product_attention.h>

#include <string>
#include <vector>

#include "bench/gpu/timing.hpp"
#include "lisa/config/llama.hpp"
#include "lisa/gpu/decode_attention.hpp"
#include "lisa/nn/causal_attention.hpp"
#include "lisa/nn/decode_position.hpp"
#include "lisa/nn/rotary.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
#include "tests/support/windowed_attention.hpp"

namespace lisa::gpu_bench {
namespace {

const at::TensorOptions bf16_on_gpu = at::TensorOptions().dtype(at::kBFloat16).device(at::kCUDA);

void bench(dim held) {
  constexpr dim heads = llama_7b.heads, width = head_dim(llama_7b), capacity = llama_7b.context;
  const std::string name = "attention of one token, 32 heads of 128, " + std::to_string(held) + " held, bf16";
  const auto random = [](const Shape& shape, std::uint64_t seed) {
    return test::random_tensor(shape, seed).to(at::kCUDA).to(at::kBFloat16);
  };
  const at::Tensor q = random({heads, width}, 1), k = random({heads, width}, 2), v = random({heads, width}, 3);
  const at::Tensor keys = random({heads, capacity, width}, 4), values = random({heads, capacity, width}, 5);
  const auto rotary = RotaryEmbedding<width>::make(capacity, llama_7b.rope_theta, bf16_on_gpu);
  DecodePosition position(at::kCUDA);
  position.set(held);
  const auto seen = [&](const at::Tensor& stored) { return stored.narrow(1, 0, held + 1); };
  const auto append = [&] {
    keys.narrow(1, held, 1).copy_(rotary.rotate(k.unsqueeze(1), held));
    values.narrow(1, held, 1).copy_(v.unsqueeze(1));
    return rotary.rotate(q.unsqueeze(1), held);
  };
  const auto kernel = [&] {
    return gpu::decode_attention({q, k, v, rotary.cosine, rotary.sine, keys, values, position.sequence()}).value();
  };
  const auto operators = [&] { return causal_attention(append(), seen(keys), seen(values)).squeeze(1); };
  const auto sdpa = [&] {
    return at::scaled_dot_product_attention(append().unsqueeze(0), seen(keys).unsqueeze(0), seen(values).unsqueeze(0))
        .view({heads, width});
  };
  const at::Tensor exact =
      causal_attention(append().to(at::kDouble), seen(keys).to(at::kDouble), seen(values).to(at::kDouble)).squeeze(1);
  require_close(name + ", kernel", test::largest_difference(kernel(), exact),
                test::attention_bound(0x1p-8, values.abs().max().item<double>()));
  require_close(name + ", operators", test::relative_l2(operators(), exact), 3e-2);
  require_close(name + ", SDPA", test::relative_l2(sdpa(), exact), 3e-2);
  compare_times(name, {{"lisa::cuda, rotation and cache included", [&] { static_cast<void>(kernel()); }},
                       {"the library's operators", [&] { static_cast<void>(operators()); }},
                       {"rotation, append, ATen SDPA", [&] { static_cast<void>(sdpa()); }}});
}

}  // namespace

void bench_decode_attention() {
  bench(316);
  bench(2047);
}

}  // namespace lisa::gpu_bench
