// CLIP's vision tower, one picture, random weights: the tower, and plain ATen computing its matrix products.
// OMP_NUM_THREADS sets the number of threads.

#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <vector>

#include "bench/matrix_products.hpp"
#include "bench/random_weights.hpp"
#include "lisa/vision/clip_tower.hpp"

namespace {

using namespace lisa;

template <ClipConfig C>
std::vector<bench::MatrixProduct> clip_products() {
  constexpr dim rows = grid(C) * grid(C) + 1, head = C.hidden / C.heads, blocks = blocks_run(C);
  return {{0, rows - 1, 3 * C.patch * C.patch, C.hidden},
          {0, rows, C.hidden, C.hidden, 4 * blocks},
          {0, rows, C.hidden, C.mlp, blocks},
          {0, rows, C.mlp, C.hidden, blocks},
          {C.heads, rows, head, rows, blocks},
          {C.heads, rows, rows, head, blocks}};
}

template <ClipConfig C, at::ScalarType Dtype>
void clip(benchmark::State& state) {
  const c10::InferenceMode inference;
  ClipTower<C> tower;
  bench::fill_random(tower, Dtype);
  const at::Tensor image = bench::random({1, 3, C.image, C.image}, Dtype);
  for (auto _ : state) benchmark::DoNotOptimize(tower.forward(image));
  bench::count_flops(state, clip_products<C>());
}

template <ClipConfig C, at::ScalarType Dtype>
void clip_plain_products(benchmark::State& state) {
  const c10::InferenceMode inference;
  bench::run_products(state, clip_products<C>(), Dtype);
}

void timing(benchmark::internal::Benchmark* bench) {
  bench->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();
}

BENCHMARK(clip<clip_vit_l14, at::kBFloat16>)->Apply(timing);
BENCHMARK(clip_plain_products<clip_vit_l14, at::kBFloat16>)->Apply(timing);
BENCHMARK(clip<clip_vit_l14, at::kFloat>)->Apply(timing);
BENCHMARK(clip_plain_products<clip_vit_l14, at::kFloat>)->Apply(timing);
BENCHMARK(clip<clip_vit_l14_336, at::kBFloat16>)->Apply(timing);
BENCHMARK(clip_plain_products<clip_vit_l14_336, at::kBFloat16>)->Apply(timing);

}  // namespace
