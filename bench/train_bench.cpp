// A training step split into forward, backward and optimiser, data left out: lisa-tiny from scratch on 8
// images with 3 questions each, and one LLaMA-7B block with LISA's adapters in bf16 on two images with three questions
// each, with and without recomputing it in the backward pass; beside that, plain ATen computing the same matrix
// products. OMP_NUM_THREADS sets the number of threads.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bench/matrix_products.hpp"
#include "bench/random_weights.hpp"
#include "lisa/base/stopwatch.hpp"
#include "lisa/config/presets.hpp"
#include "lisa/train/adamw.hpp"
#include "lisa/train/gradient_checkpoint.hpp"
#include "lisa/train/gradients.hpp"
#include "lisa/train/initialise.hpp"
#include "lisa/train/product_precision.hpp"
#include "lisa/train/trainable.hpp"
#include "lisa/train/training_forward.hpp"

namespace {

using namespace lisa;

/// A dialogue of 64 shared ids, the image, a question of 24 ids and an answer of 6 with one `[SEG]`.
DialogueTokens some_dialogue(std::int64_t question) {
  DialogueTokens tokens;
  for (std::int64_t i = 0; i < 64; ++i) tokens.ids.push_back(1 + i);
  tokens.ids.push_back(image_token_id);
  for (std::int64_t i = 0; i < 24; ++i) tokens.ids.push_back(100 + question + i);
  tokens.labels.assign(tokens.ids.size(), ignored_label);
  tokens.segs = {tokens.ids.size() + 3};
  for (std::int64_t i = 0; i < 6; ++i) {
    tokens.ids.push_back(200 + i);
    tokens.labels.push_back(200 + i);
  }
  return tokens;
}

TrainingBatch some_batch(int images, int questions) {
  constexpr dim side = LisaTiny::sam.image;
  TrainingBatch batch;
  for (int i = 0; i < images; ++i) {
    TrainingImage image{.id = "image",
                        .pixel_values = bench::random({3, side, side}, at::kFloat),
                        .sam_image = bench::random({3, side, side}, at::kFloat),
                        .resized = {side, side},
                        .original = {side, side},
                        .dialogues = {},
                        .masks = bench::random({questions, side, side}, at::kFloat).gt(1).to(at::kByte)};
    for (int q = 0; q < questions; ++q) image.dialogues.push_back(some_dialogue(q));
    batch.push_back(std::move(image));
  }
  return batch;
}

/// Seconds of each stage, summed over the steps of a bench.
struct StepSplit {
  double forward = 0, backward = 0, optimiser = 0;

  void report(benchmark::State& state) const {
    const auto milliseconds = [&](double seconds) {
      return benchmark::Counter(1e3 * seconds, benchmark::Counter::kAvgIterations);
    };
    state.counters["forward_ms"] = milliseconds(forward);
    state.counters["backward_ms"] = milliseconds(backward);
    state.counters["optimiser_ms"] = milliseconds(optimiser);
  }
};

template <class Forward>
void run_steps(benchmark::State& state, const std::vector<TrainedParameter>& parameters, const Forward& forward) {
  AdamW optimiser(parameters);
  StepSplit split;
  const auto step = [&] {
    Stopwatch watch;
    const at::Tensor loss = forward();
    split.forward += watch.lap();
    loss.backward();
    split.backward += watch.lap();
    GradientSum gradients;
    gradients.take(parameters);
    clip_gradient_norm(gradients.tensors(), 1.0);
    optimiser.step(gradients.tensors(), 1e-4);
    split.optimiser += watch.lap();
  };
  step();
  split = {};
  for (auto _ : state) step();
  split.report(state);
}

/// @param bf16_products whether operands of fp32 products may be rounded, where the CPU has such products
void lisa_tiny_from_scratch(benchmark::State& state, bool bf16_products) {
  allow_bf16_products(bf16_products);
  Lisa<LisaTiny> model;
  benchmark::DoNotOptimize(initialise_missing(model, 1));
  const std::vector<TrainedParameter> parameters = set_trainable(model, everything);
  const TrainingBatch batch = some_batch(8, 3);
  run_steps(state, parameters, [&] { return training_forward(model, batch).loss; });
  state.counters["parameters"] = static_cast<double>(element_count(parameters));
  allow_bf16_products(false);
}

/// Two images, each with 316 shared rows and three dialogues of 32 more.
const std::vector<BranchedItem> block_items(2, {.trunk = 316, .branches = {32, 32, 32}});

/// Forward products, and as many in the backward pass for the gradient of the block's input; the weights have none. Of
/// attention both operands have one.
std::vector<bench::MatrixProduct> block_products() {
  constexpr dim head = head_dim(llama_7b), items = 2;
  const dim length = block_items.front().size(), rows = items * length;
  return {{0, rows, llama_7b.hidden, llama_7b.hidden, 8},
          {0, rows, llama_7b.hidden, llama_7b.mlp, 2 + 1},
          {0, rows, llama_7b.mlp, llama_7b.hidden, 1 + 2},
          {items * llama_7b.heads, length, head, length, 3},
          {items * llama_7b.heads, length, length, head, 3}};
}

void llama_7b_block_with_adapters(benchmark::State& state, bool recomputed) {
  constexpr LoraConfig lora{};
  LlamaBlock<llama_7b, lora> block;
  bench::fill_random(block, at::kBFloat16);
  std::vector<TrainedParameter> parameters;
  block.for_each_projection("", [&](const std::string& name, auto& projection) {
    projection.for_each_adapter(name, [&](const std::string& adapter, at::Tensor& value, const Shape& shape) {
      value = bench::random(shape, at::kBFloat16).mul(0.02).requires_grad_(true);
      parameters.push_back({adapter, value, Part::llm});
    });
  });
  const auto rotary = RotaryEmbedding<head_dim(llama_7b)>::make(llama_7b.context, llama_7b.rope_theta, at::kBFloat16);
  const BranchedRows rows = branched_rows(block_items, at::TensorOptions(at::kBFloat16));
  const auto angles = rotary.at_positions(rows.positions);
  const at::Tensor x = bench::random({rows.items * rows.length, llama_7b.hidden}, at::kBFloat16).requires_grad_();
  const FunctionRunner checkpoint = gradient_checkpoint();
  const auto forward = [&](const std::vector<at::Tensor>& inputs) {
    return block.forward(inputs.front(), rows, angles);
  };
  run_steps(state, parameters,
            [&] { return (recomputed ? checkpoint(forward, {x}) : forward({x})).to(at::kFloat).square().mean(); });
  bench::count_flops(state, block_products());
}

void llama_7b_block_plain_products(benchmark::State& state) {
  bench::run_products(state, block_products(), at::kBFloat16);
}

void timing(benchmark::internal::Benchmark* bench) {
  bench->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();
}

BENCHMARK_CAPTURE(lisa_tiny_from_scratch, fp32, false)->Apply(timing);
BENCHMARK_CAPTURE(lisa_tiny_from_scratch, bf16_products, true)->Apply(timing);
BENCHMARK_CAPTURE(llama_7b_block_with_adapters, kept, false)->Apply(timing);
BENCHMARK_CAPTURE(llama_7b_block_with_adapters, recomputed, true)->Apply(timing);
BENCHMARK(llama_7b_block_plain_products)->Apply(timing);

}  // namespace
