// A training step split into forward, backward and optimiser, data left out: a model of 1.5 million parameters from
// scratch on 8 images with 3 questions each, and one LLaMA-7B block with LISA's adapters in bf16 on two images with
// three questions each. OMP_NUM_THREADS sets the number of threads.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bench/random_weights.hpp"
#include "lisa/base/stopwatch.hpp"
#include "lisa/train/adamw.hpp"
#include "lisa/train/gradients.hpp"
#include "lisa/train/initialise.hpp"
#include "lisa/train/trainable.hpp"
#include "lisa/train/training_forward.hpp"

namespace {

using namespace lisa;

struct SmallSpec : Lisa7B {
  static constexpr std::string_view name = "small";
  static constexpr LlamaConfig llm{
      .vocab = 800, .hidden = 128, .mlp = 344, .layers = 3, .heads = 4, .kv_heads = 4, .context = 256};
  static constexpr LoraConfig lora = no_lora;
  static constexpr ClipConfig vision{
      .image = 96, .patch = 16, .hidden = 96, .mlp = 384, .layers = 3, .heads = 4, .feature_layer = -1};
  static constexpr SamConfig sam{.image = 96,
                                 .patch = 8,
                                 .hidden = 96,
                                 .mlp = 384,
                                 .layers = 3,
                                 .heads = 4,
                                 .window = 6,
                                 .global_blocks = {2},
                                 .prompt_dim = 64,
                                 .decoder_heads = 4,
                                 .decoder_mlp = 256,
                                 .iou_head_hidden = 64};
  static constexpr MlpConfig seg{.hidden = 128, .layers = 2};
  static constexpr MlpConfig visual_projector{.hidden = 128, .layers = 1};
};

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
  constexpr dim side = SmallSpec::sam.image;
  TrainingBatch batch;
  for (int i = 0; i < images; ++i) {
    TrainingImage image{.id = "image",
                        .pixel_values = at::empty({3, side, side}).normal_(),
                        .sam_image = at::empty({3, side, side}).normal_(),
                        .resized = {side, side},
                        .original = {side, side},
                        .dialogues = {},
                        .masks = at::empty({questions, side, side}).normal_().gt(1).to(at::kByte)};
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

void small_model_from_scratch(benchmark::State& state) {
  Lisa<SmallSpec> model;
  benchmark::DoNotOptimize(initialise_missing(model, 1));
  const std::vector<TrainedParameter> parameters = set_trainable(model, everything);
  const TrainingBatch batch = some_batch(8, 3);
  run_steps(state, parameters, [&] { return training_forward(model, batch).loss; });
  state.counters["parameters"] = static_cast<double>(element_count(parameters));
}

void llama_7b_block_with_adapters(benchmark::State& state) {
  constexpr LoraConfig lora{};
  LlamaBlock<llama_7b, lora> block;
  bench::fill_random(block, at::kBFloat16);
  std::vector<TrainedParameter> parameters;
  block.for_each_projection("", [&](const std::string& name, auto& projection) {
    projection.for_each_adapter(name, [&](const std::string& adapter, at::Tensor& value, const Shape& shape) {
      value = at::empty(shape, at::kBFloat16).normal_(0, 0.02).requires_grad_(true);
      parameters.push_back({adapter, value, Part::llm});
    });
  });
  const auto rotary = RotaryEmbedding<head_dim(llama_7b)>::make(llama_7b.context, llama_7b.rope_theta, at::kBFloat16);
  const BranchedRows rows = branched_rows(std::vector<BranchedItem>(2, {.trunk = 316, .branches = {32, 32, 32}}),
                                          at::TensorOptions(at::kBFloat16));
  const auto angles = rotary.at_positions(rows.positions);
  const at::Tensor x = at::empty({rows.items * rows.length, llama_7b.hidden}, at::kBFloat16).normal_().requires_grad_();
  run_steps(state, parameters, [&] { return block.forward(x, rows, angles).to(at::kFloat).square().mean(); });
  state.counters["rows"] = static_cast<double>(rows.items * rows.length);
}

void timing(benchmark::internal::Benchmark* bench) {
  bench->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();
}

BENCHMARK(small_model_from_scratch)->Apply(timing);
BENCHMARK(llama_7b_block_with_adapters)->Apply(timing);

}  // namespace
