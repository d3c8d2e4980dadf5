// LLaMA-7B in bf16 with random weights: one block on 316 rows (a prompt with an image), the step of one token at
// context 316, both also with quantised projections, the head on one row; beside each, plain ATen computing the same
// matrix products. Then whole answers by 4 of the 32 blocks, with and without drafts. OMP_NUM_THREADS sets the number
// of threads, LISA_KERNELS=reference leaves everything to ATen.

#include <ATen/ops/linear.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <string>
#include <vector>

#include "bench/mapped_tensor.hpp"
#include "bench/matrix_products.hpp"
#include "bench/random_weights.hpp"
#include "lisa/llm/generate.hpp"
#include "lisa/llm/llama.hpp"
#include "lisa/nn/quantised_linear.hpp"

namespace {

using namespace lisa;

constexpr LlamaConfig config = llama_7b;
constexpr dim context = 316;
/// Blocks of a decode step, run in turn: their weights, 1.6 GB, do not stay in any cache.
constexpr dim decode_blocks = 4;

struct Blocks {
  explicit Blocks(dim count) : blocks(static_cast<std::size_t>(count)) {
    for (auto& block : blocks) bench::fill_random(block, at::kBFloat16);
  }

  [[nodiscard]] at::Tensor forward(at::Tensor x, KvCache& cache) const {
    const std::vector<Segment> segments{{x.size(0), &cache}};
    for (std::size_t i = 0; i < blocks.size(); ++i) x = blocks[i].forward(x, segments, static_cast<dim>(i), rotary);
    return x;
  }

  /// The same with its projections as `lisa convert --weights` holds them.
  [[nodiscard]] Blocks in_format(WeightFormat format) const {
    Blocks narrow = *this;  // handles
    for (std::size_t i = 0; i < blocks.size(); ++i)
      narrow.blocks[i].for_each_projection("", [&](const std::string&, auto& projection) {
        projection.base.weight = bench::mapped(quantised(projection.base.weight, format));
      });
    return narrow;
  }

  std::vector<LlamaBlock<config, no_lora>> blocks;
  RotaryEmbedding<head_dim(config)> rotary =
      RotaryEmbedding<head_dim(config)>::make(config.context, config.rope_theta, at::TensorOptions(at::kBFloat16));
};

/// Made once, because random numbers for 1.6 GB take longer than the measures.
const Blocks& decode_model() {
  static const Blocks model(decode_blocks);
  return model;
}

std::vector<bench::MatrixProduct> block_products(dim rows, dim keys) {
  constexpr dim head = head_dim(config);
  return {{0, rows, config.hidden, config.hidden, 4},
          {0, rows, config.hidden, config.mlp, 2},
          {0, rows, config.mlp, config.hidden},
          {config.heads, rows, head, keys},
          {config.heads, rows, keys, head}};
}

void count_bytes(benchmark::State& state, dim weights) {
  state.counters["GB/s"] =
      benchmark::Counter(2e-9 * static_cast<double>(weights), benchmark::Counter::kIsIterationInvariantRate);
}

void prefill(benchmark::State& state, const Blocks& model) {
  const at::Tensor x = bench::random({context, config.hidden}, at::kBFloat16);
  KvCache cache(1, config.context);
  benchmark::DoNotOptimize(model.forward(x, cache));  // the first run of a shape prepares oneDNN's product
  for (auto _ : state) benchmark::DoNotOptimize(model.forward(x, cache));
  bench::count_flops(state, block_products(context, context));
}

void prefill_block(benchmark::State& state) {
  const c10::InferenceMode inference;
  prefill(state, Blocks(1));
}

template <WeightFormat Format>
void prefill_block_quantised(benchmark::State& state) {
  const c10::InferenceMode inference;
  prefill(state, Blocks(1).in_format(Format));
}

void prefill_block_plain_products(benchmark::State& state) {
  const c10::InferenceMode inference;
  bench::run_products(state, block_products(context, context), at::kBFloat16);
}

void decode(benchmark::State& state, const Blocks& model) {
  KvCache cache(decode_blocks, config.context);
  benchmark::DoNotOptimize(model.forward(bench::random({context, config.hidden}, at::kBFloat16), cache));
  cache.advance(context);
  const at::Tensor x = bench::random({1, config.hidden}, at::kBFloat16);
  for (auto _ : state) benchmark::DoNotOptimize(model.forward(x, cache));  // always at context 316: nothing advances
}

void decode_4_blocks(benchmark::State& state) {
  const c10::InferenceMode inference;
  decode(state, decode_model());
  count_bytes(state, decode_blocks * block_parameters(config));
}

template <WeightFormat Format>
void decode_4_blocks_quantised(benchmark::State& state) {
  const c10::InferenceMode inference;
  decode(state, decode_model().in_format(Format));
}

void decode_4_blocks_plain_products(benchmark::State& state) {
  const c10::InferenceMode inference;
  std::vector<at::Tensor> weights;
  for (const auto& block : decode_model().blocks)
    visit_parameters(block, "", [&](const std::string&, const at::Tensor& value, const Shape& shape) {
      if (shape.size() == 2) weights.push_back(value);
    });
  const at::Tensor narrow = bench::random({1, config.hidden}, at::kBFloat16);
  const at::Tensor wide = bench::random({1, config.mlp}, at::kBFloat16);
  for (auto _ : state)
    for (const at::Tensor& weight : weights)
      benchmark::DoNotOptimize(at::linear(weight.size(1) == config.hidden ? narrow : wide, weight));
  count_bytes(state, decode_blocks * block_parameters(config));
}

void lm_head_one_row(benchmark::State& state) {
  const c10::InferenceMode inference;
  Linear<config.hidden, config.vocab, Bias::no> head;
  bench::fill_random(head, at::kBFloat16);
  const at::Tensor x = bench::random({1, config.hidden}, at::kBFloat16);
  for (auto _ : state) benchmark::DoNotOptimize(head.forward(x));
  count_bytes(state, head.weight.numel());
}

template <WeightFormat Format>
void lm_head_one_row_quantised(benchmark::State& state) {
  const c10::InferenceMode inference;
  const at::Tensor weight =
      bench::mapped(quantised(bench::random({config.vocab, config.hidden}, at::kBFloat16), Format));
  const at::Tensor x = bench::random({1, config.hidden}, at::kBFloat16);
  for (auto _ : state) benchmark::DoNotOptimize(apply_linear(x, weight));
}

void lm_head_one_row_plain_product(benchmark::State& state) {
  const c10::InferenceMode inference;
  const at::Tensor weight = bench::mapped(bench::random({config.vocab, config.hidden}, at::kBFloat16));
  const at::Tensor x = bench::random({1, config.hidden}, at::kBFloat16);
  for (auto _ : state) benchmark::DoNotOptimize(at::linear(x, weight));
  count_bytes(state, weight.numel());
}

constexpr LlamaConfig four_blocks = [] {
  LlamaConfig fewer = llama_7b;
  fewer.layers = decode_blocks;
  return fewer;
}();

const Llama<four_blocks>& four_block_model() {
  static const Llama<four_blocks> model = [] {
    Llama<four_blocks> made;
    bench::fill_random(made, at::kBFloat16);
    made.prepare();
    return made;
  }();
  return model;
}

/// Token ids that stand for LISA's five usual answers: "It is [SEG].", "Sure, [SEG].", "Sure, it is [SEG].",
/// "Sure, the segmentation result is [SEG].", "[SEG].", in LLaMA's vocabulary 20 nodes.
const std::vector<std::vector<std::int64_t>> usual_answers{{10, 11, 1000, 30},
                                                           {20, 21, 1000, 30},
                                                           {20, 21, 22, 11, 1000, 30},
                                                           {20, 21, 23, 24, 25, 26, 11, 1000, 30},
                                                           {1000, 30}};

/// Questions of `rows` rows behind the rest of 316 positions, each answered with 7 tokens, as LISA's usual answers are,
/// or with 30, an explanation. Random weights agree with no draft, so the answer is forced, as `--force-answer` does;
/// what is run is what a model with that answer would run.
void answers(benchmark::State& state) {
  const c10::InferenceMode inference;
  const auto rows = static_cast<dim>(state.range(0));
  const auto questions = static_cast<std::size_t>(state.range(1));
  const bool drafted = state.range(2) != 0;
  std::vector<std::int64_t> answer{20, 21, 22, 11, 1000, 30};
  while (answer.size() + 1 < static_cast<std::size_t>(state.range(3)))
    answer.push_back(100 + static_cast<std::int64_t>(answer.size()));
  answer.push_back(2);
  const auto& model = four_block_model();
  std::vector<KvCache> caches;
  for (std::size_t i = 0; i < questions; ++i) caches.push_back(model.make_cache());
  std::vector<GenerationRequest> requests;
  for (KvCache& cache : caches) {
    if (rows < context) {
      const std::vector<Segment> known{{context - rows, &cache}};
      benchmark::DoNotOptimize(model.forward(bench::random({context - rows, config.hidden}, at::kBFloat16), known));
    }
    requests.push_back({.cache = &cache, .prompt = bench::random({rows, config.hidden}, at::kBFloat16)});
    requests.back().forced_answer = answer;
    if (drafted) requests.back().drafts = usual_answers;
  }
  dim ready = 0;
  for (auto _ : state) {
    for (KvCache& cache : caches) cache.truncate(context - rows);
    ready = generate<PredictingHiddenState>(model, requests).front().drafted_tokens;
  }
  state.counters["drafted tokens"] = static_cast<double>(ready);
  state.counters["questions/s"] =
      benchmark::Counter(static_cast<double>(questions), benchmark::Counter::kIsIterationInvariantRate);
}

void timing(benchmark::internal::Benchmark* bench) {
  bench->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();
}

BENCHMARK(prefill_block)->Apply(timing);
BENCHMARK(prefill_block_plain_products)->Apply(timing);
BENCHMARK(prefill_block_quantised<WeightFormat::int8_row>)->Apply(timing);
BENCHMARK(prefill_block_quantised<WeightFormat::int4_group32>)->Apply(timing);
BENCHMARK(decode_4_blocks)->Apply(timing);
BENCHMARK(decode_4_blocks_quantised<WeightFormat::int8_row>)->Apply(timing);
BENCHMARK(decode_4_blocks_quantised<WeightFormat::int4_group32>)->Apply(timing);
BENCHMARK(decode_4_blocks_quantised<WeightFormat::int4_group128>)->Apply(timing);
BENCHMARK(decode_4_blocks_plain_products)->Apply(timing);
BENCHMARK(lm_head_one_row)->Apply(timing);
BENCHMARK(lm_head_one_row_quantised<WeightFormat::int8_row>)->Apply(timing);
BENCHMARK(lm_head_one_row_quantised<WeightFormat::int4_group32>)->Apply(timing);
BENCHMARK(lm_head_one_row_plain_product)->Apply(timing);
BENCHMARK(answers)
    ->ArgNames({"rows", "questions", "drafted", "tokens"})
    ->ArgsProduct({{context, 40}, {1, 2, 4, 8}, {0, 1}, {7, 30}})
    ->Apply(timing);

}  // namespace
