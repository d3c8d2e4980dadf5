// One new token of LLaMA-7B in bf16: attention over the cache, and whole steps, queued one operator after the other or
// as one CUDA graph.
#include <ATen/ops/scaled_dot_product_attention.h>

#include <string>
#include <vector>

#include "bench/gpu/timing.hpp"
#include "lisa/gpu/decode_attention.hpp"
#include "lisa/llm/decode_step.hpp"
#include "lisa/llm/llama.hpp"
#include "lisa/nn/causal_attention.hpp"
#include "lisa/nn/decode_position.hpp"
#include "lisa/nn/rotary.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
#include "tests/support/windowed_attention.hpp"

namespace lisa::gpu_bench {
namespace {

/// LLaMA-7B with a quarter of its layers, each of which does the same.
constexpr LlamaConfig quarter_of_7b{.layers = 8};

const at::TensorOptions bf16_on_gpu = at::TensorOptions().dtype(at::kBFloat16).device(at::kCUDA);

void bench_attention(dim held) {
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

void bench_step() {
  const std::string name = "a step of 8 of LLaMA-7B's 32 layers, 316 held, bf16";
  using Model = Llama<quarter_of_7b>;
  Model llm;
  llm.for_each_parameter("", [](const std::string&, at::Tensor& value, const Shape& shape) {
    value = aten::empty(shape, bf16_on_gpu).normal_(0, 0.02);
  });
  llm.prepare();
  KvCache host_cache = Model::make_cache(), device_cache = Model::make_cache();
  const at::Tensor prompt = aten::empty({316, quarter_of_7b.hidden}, bf16_on_gpu).normal_();
  for (KvCache* const cache : {&host_cache, &device_cache}) {
    const Segment segment{prompt.size(0), cache};
    static_cast<void>(llm.forward(prompt, {&segment, 1}));
  }
  const at::Tensor token = aten::full({1}, 5, bf16_on_gpu.dtype(at::kLong));
  const auto operators = [&] {
    const Segment segment{1, &host_cache};
    const at::Tensor hidden = llm.forward(llm.embed(token), {&segment, 1});
    host_cache.truncate(316);
    return llm.logits(hidden);
  };
  DecodeStep<Model> step(llm, device_cache, at::kCUDA, -1);
  const auto recorded = [&] {
    step.start(5);
    return step.run(/*keep=*/false).logits;
  };
  for (int i = 0; i < 3; ++i) require_close(name, test::relative_l2(recorded(), operators()), 3e-2);
  compare_times(name, {{"one CUDA graph", [&] { static_cast<void>(recorded()); }},
                       {"operator after operator", [&] { static_cast<void>(operators()); }}});
}

}  // namespace

void bench_decoding() {
  bench_attention(316);
  bench_attention(2047);
  bench_step();
}

}  // namespace lisa::gpu_bench
