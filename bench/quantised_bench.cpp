// Linear layers of LLaMA-7B's shapes with quantised weights: a step of text generation for 1 to 8 questions and a
// prompt of 316 rows, beside the same layer in bf16 and ATen's weight-only operators; the layers of SAM's image
// encoder; and what the formats cost in accuracy. "error" is the relative L2 difference of the outputs from fp32
// products with the weights before they were rounded, for normal inputs; "weight_error" that of the weights. Weights
// are read from memory: each step takes another of several copies. Compare rates with plain_read in the same run:
// --benchmark_enable_random_interleaving=true --benchmark_repetitions=5; OMP_NUM_THREADS sets the number of threads.

#include <ATen/ops/_weight_int8pack_mm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "bench/mapped_tensor.hpp"
#include "bench/matrix_products.hpp"
#include "lisa/nn/linear_operator.hpp"
#include "lisa/nn/quantised_linear.hpp"

namespace {

using namespace lisa;

/// Copies of a weight that together do not fit into a cache, in mapped files as a checkpoint's weights, used in turn.
struct Copies {
  explicit Copies(const at::Tensor& weight) {
    const dim count = std::max<dim>(2, (dim{1} << 28) / static_cast<dim>(weight.nbytes()));
    for (dim i = 0; i < count; ++i) weights.push_back(bench::mapped(weight));
  }
  [[nodiscard]] const at::Tensor& next() { return weights[at++ % weights.size()]; }

  std::vector<at::Tensor> weights;
  std::size_t at = 0;
};

struct Layer {
  explicit Layer(const benchmark::State& state)
      : rows(state.range(0)),
        weight(bench::random({state.range(2), state.range(1)}, at::kFloat).mul(0.02)),
        x(bench::random({rows, state.range(1)}, at::kFloat)) {}

  dim rows;
  at::Tensor weight, x;
};

double relative_error(const at::Tensor& found, const at::Tensor& expected) {
  return found.to(at::kFloat).sub(expected).norm().item<double>() / expected.norm().item<double>();
}

void report(benchmark::State& state, const Layer& layer, const at::Tensor& weight) {
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(weight.nbytes()) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  const double flops = 2.0 * static_cast<double>(layer.rows * layer.weight.numel());
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

template <WeightFormat Format>
void quantised_layer(benchmark::State& state) {
  const c10::InferenceMode inference;
  const Layer layer(state);
  const at::Tensor weight = quantised(layer.weight, Format), x = layer.x.to(at::kBFloat16);
  const at::Tensor restored = detail::dequantised_rows(weight, x.size(1), 0, weight.size(0));
  state.counters["weight_error"] = relative_error(restored, layer.weight);
  state.counters["error"] = relative_error(apply_linear(layer.x, weight), at::linear(layer.x, layer.weight));
  Copies copies(weight);
  for (auto _ : state) benchmark::DoNotOptimize(apply_linear(x, copies.next()));
  report(state, layer, weight);
}

void bf16_layer(benchmark::State& state) {
  const c10::InferenceMode inference;
  const Layer layer(state);
  const at::Tensor weight = layer.weight.to(at::kBFloat16), x = layer.x.to(at::kBFloat16);
  state.counters["error"] = relative_error(apply_linear(x, weight), at::linear(layer.x, layer.weight));
  Copies copies(weight);
  for (auto _ : state) benchmark::DoNotOptimize(apply_linear(x, copies.next()));
  report(state, layer, weight);
}

/// ATen's product of bf16 inputs with int8 weights and a bf16 scale for each row.
void aten_int8_layer(benchmark::State& state) {
  const c10::InferenceMode inference;
  const Layer layer(state);
  const at::Tensor scale = layer.weight.abs().amax(1).div(127);
  const at::Tensor weight = layer.weight.div(scale.unsqueeze(1)).round().to(at::kChar);
  const at::Tensor scales = scale.to(at::kBFloat16), x = layer.x.to(at::kBFloat16);
  state.counters["error"] =
      relative_error(at::_weight_int8pack_mm(x, weight, scales), at::linear(layer.x, layer.weight));
  Copies copies(weight);
  for (auto _ : state) benchmark::DoNotOptimize(at::_weight_int8pack_mm(x, copies.next(), scales));
  report(state, layer, weight);
}

/// Nothing but a sum of 64-bit words, over as many bytes as int8 has.
void plain_read(benchmark::State& state) {
  const c10::InferenceMode inference;
  Copies copies(at::empty({state.range(2) * state.range(1) / 8}, at::kLong).random_());
  for (auto _ : state) {
    const at::Tensor& words = copies.next();
    const auto* const data = words.const_data_ptr<std::int64_t>();
    std::vector<std::int64_t> sums(static_cast<std::size_t>(words.numel() / 4096 + 1));
    at::parallel_for(0, words.numel() / 4096, 16, [&](dim begin, dim end) {
      for (dim part = begin; part < end; ++part) {
        std::int64_t a = 0, b = 0, c = 0, d = 0;
        for (const auto *p = data + part * 4096, *last = p + 4096; p != last; p += 32) {
          // One word of each line of the cache is enough to bring it in.
          a += p[0], b += p[8], c += p[16], d += p[24];
        }
        sums[static_cast<std::size_t>(part)] = a + b + c + d;
      }
    });
    benchmark::DoNotOptimize(sums.data());
  }
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(copies.next().nbytes()) * 1e-9,
                                              benchmark::Counter::kIsIterationInvariantRate);
}

void timing(benchmark::internal::Benchmark* bench) {
  bench->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();
  bench->ArgNames({"rows", "in", "out"});
}

void steps(benchmark::internal::Benchmark* bench) {
  timing(bench);
  for (const int rows : {1, 2, 4, 8}) bench->Args({rows, 4096, 11008});
  bench->Args({1, 4096, 4096})->Args({1, 11008, 4096});
}

void steps_and_prompt(benchmark::internal::Benchmark* bench) {
  steps(bench);
  bench->Args({316, 4096, 11008})->Args({316, 11008, 4096});
}

/// The linear layers of one block of SAM's ViT-B, for a picture's 4096 places.
void image_encoder(benchmark::internal::Benchmark* bench) {
  timing(bench);
  for (const auto& [in, out] : {std::pair{768, 2304}, {768, 768}, {768, 3072}, {3072, 768}})
    bench->Args({4096, in, out});
}

void one_step(benchmark::internal::Benchmark* bench) {
  timing(bench);
  bench->Args({1, 4096, 11008});
}

BENCHMARK(plain_read)->Apply(one_step);
BENCHMARK(bf16_layer)->Apply(steps_and_prompt);
BENCHMARK(quantised_layer<WeightFormat::int8_row>)->Apply(steps_and_prompt);
BENCHMARK(bf16_layer)->Name("image_encoder/bf16_layer")->Apply(image_encoder);
BENCHMARK(quantised_layer<WeightFormat::int8_row>)->Name("image_encoder/int8_layer")->Apply(image_encoder);
BENCHMARK(aten_int8_layer)->Apply(one_step);
BENCHMARK(quantised_layer<WeightFormat::int4_group32>)->Apply(steps_and_prompt);
BENCHMARK(quantised_layer<WeightFormat::int4_group128>)->Apply(steps_and_prompt);
BENCHMARK(quantised_layer<WeightFormat::nf4_group64>)->Apply(steps_and_prompt);

}  // namespace
