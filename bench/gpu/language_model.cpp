// LLaMA-7B: a whole prompt of 316 positions, and whole steps behind it, queued as one CUDA graph, one operator after
// the other, and in ATen's operators alone; with projections in bf16, int8 and int4.
#include <string>
#include <string_view>

#include "bench/gpu/llama_work.hpp"
#include "bench/gpu/timing.hpp"

namespace lisa::gpu_bench {
namespace {

constexpr dim prompt_rows = 316;

/// @param plain  whether ATen's operators take part in the times: with quantised weights they would restore them
void bench(const LlamaWeights<llama_7b>& weights, std::string_view format, bool plain) {
  LlamaWork<llama_7b> work(weights.model(), weights.device(), prompt_rows);
  const std::string of = "LLaMA-7B, " + std::string(format) + ", ";
  work.require_outputs(of + "outputs");
  std::vector<Contender> prefill{{"lisa", [&] { static_cast<void>(work.prefill()); }}};
  std::vector<Contender> step{{"lisa, one CUDA graph", [&] { static_cast<void>(work.next_step()); }},
                              {"lisa, operator after operator", [&] { static_cast<void>(work.host_step()); }}};
  if (plain) {
    prefill.push_back({"ATen's operators, SDPA", [&] { static_cast<void>(work.plain_prefill()); }});
    step.push_back({"ATen's operators, SDPA", [&] { static_cast<void>(work.plain_step()); }});
  }
  compare_times(of + "prompt of 316 positions", prefill);
  compare_times(of + "a step behind 316 positions", step, "tokens");
}

}  // namespace

void bench_language_model() {
  LlamaWeights<llama_7b> weights(at::kCUDA);
  bench(weights, "bf16", /*plain=*/true);
  for (const WeightFormat format : {WeightFormat::int8_row, WeightFormat::int4_group32, WeightFormat::int4_group128}) {
    weights.give_format(format);
    bench(weights, to_string(format), /*plain=*/false);
  }
}

}  // namespace lisa::gpu_bench
