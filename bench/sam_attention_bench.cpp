// The attention of one block of Segment Anything's image encoder, between the two projections, at its real sizes: this
// library's kernel beside the original's algorithm (all scores in memory, a bias added for rows and one for columns)
// and ATen's scaled_dot_product_attention with the bias built as one dense mask. The peers get queries, keys and values
// of padded windows for nothing. Outputs are compared before anything is timed. Rounds that alternate between them:
// --benchmark_enable_random_interleaving=true --benchmark_repetitions=5; OMP_NUM_THREADS sets the number of threads.

#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <cmath>

#include "bench/matrix_products.hpp"
#include "lisa/config/sam.hpp"
#include "lisa/sam/fused_relative_attention.hpp"
#include "lisa/sam/relative_position.hpp"

namespace {

using namespace lisa;

template <SamConfig C>
struct Block {
  Block(dim attention_side, at::ScalarType dtype)
      : side(attention_side),
        projected(bench::random({1, grid(C), grid(C), 3 * C.hidden}, dtype)),
        padding(bench::random({3 * C.hidden}, dtype)),
        rel_h(bench::random({2 * side - 1, head_dim(C)}, dtype).mul(0.1)),
        rel_w(bench::random({2 * side - 1, head_dim(C)}, dtype).mul(0.1)) {
    const dim n = windows();
    at::Tensor padded = padding.expand({1, n * side, n * side, 3 * C.hidden}).clone();
    padded.narrow(1, 0, grid(C)).narrow(2, 0, grid(C)).copy_(projected);
    partitioned = padded.view({n, side, n, side, 3 * C.hidden}).transpose(1, 2).reshape({n * n, side * side, -1});
  }

  [[nodiscard]] dim windows() const { return (grid(C) + side - 1) / side; }

  /// Windows of the peers' output as the grid's tokens, [1, g, g, hidden].
  [[nodiscard]] at::Tensor tokens(const at::Tensor& out) const {
    const dim n = windows();
    return out.view({n, n, side, side, C.hidden})
        .transpose(1, 2)
        .reshape({1, n * side, n * side, C.hidden})
        .narrow(1, 0, grid(C))
        .narrow(2, 0, grid(C));
  }

  dim side;
  at::Tensor projected, padding, rel_h, rel_w;
  at::Tensor partitioned;  // [windows, side * side, 3 * hidden]
};

template <SamConfig C>
at::Tensor by_kernel(const Block<C>& x) {
  return fused_relative_attention<head_dim(C)>(x.projected, x.padding, x.rel_h, x.rel_w, x.side).value();
}

/// What a processor without AVX-512 runs.
template <SamConfig C>
at::Tensor by_avx2_kernel(const Block<C>& x) {
  constexpr dim d = head_dim(C);
  if (!cpu::has_avx2()) return by_kernel(x);
  if (x.projected.scalar_type() == at::kFloat)
    return detail::run_relative_attention<float, d>(cpu::relative_attention_avx2<float, d>, x.projected, x.padding,
                                                    x.rel_h, x.rel_w, x.side);
  return detail::run_relative_attention<cpu::Bf16Bits, d>(cpu::relative_attention_avx2<cpu::Bf16Bits, d>, x.projected,
                                                          x.padding, x.rel_h, x.rel_w, x.side);
}

template <SamConfig C>
struct PeerOperands {
  explicit PeerOperands(const Block<C>& x) : side(x.side) {
    const at::Tensor qkv = x.partitioned.view({-1, side * side, 3, C.heads, head_dim(C)}).permute({2, 0, 3, 1, 4});
    const at::Tensor flat = qkv.reshape({3, -1, side * side, head_dim(C)});  // a copy, as in the original
    q = flat[0], k = flat[1], v = flat[2];
    // add_decomposed_rel_pos: einsum over a matrix for each row and one for each column
    const at::Tensor grid_q = q.view({-1, side, side, head_dim(C)});
    rows = at::matmul(grid_q, relative_positions(x.rel_h, side).transpose(1, 2));
    columns = at::matmul(grid_q.transpose(1, 2), relative_positions(x.rel_w, side).transpose(1, 2)).transpose(1, 2);
  }

  /// [windows * heads, side * side, d] -> [windows, side * side, hidden], copied.
  [[nodiscard]] at::Tensor merged(const at::Tensor& out) const {
    return out.view({-1, C.heads, side * side, head_dim(C)}).transpose(1, 2).reshape({-1, side * side, C.hidden});
  }

  dim side;
  at::Tensor q, k, v;        // [windows * heads, side * side, d]
  at::Tensor rows, columns;  // [windows * heads, side, side, side]
};

double scale_of(dim d) { return 1.0 / std::sqrt(static_cast<double>(d)); }

template <SamConfig C>
at::Tensor by_original(const Block<C>& x) {
  const PeerOperands<C> p(x);
  const at::Tensor scores = at::matmul(p.q.mul(scale_of(head_dim(C))), p.k.transpose(1, 2));
  const at::Tensor biased = scores.view({-1, x.side, x.side, x.side, x.side})
                                .add(p.rows.unsqueeze(-1))
                                .add(p.columns.unsqueeze(-2))
                                .view(scores.sizes());
  return p.merged(at::matmul(at::softmax(biased, -1), p.v));
}

template <SamConfig C>
at::Tensor by_dense_bias(const Block<C>& x) {
  const PeerOperands<C> p(x);
  const dim n = x.side * x.side;
  const at::Tensor bias = p.rows.unsqueeze(-1).add(p.columns.unsqueeze(-2)).view({-1, C.heads, n, n});
  const auto heads = [&](const at::Tensor& t) { return t.view({-1, C.heads, n, head_dim(C)}); };
  return p.merged(at::scaled_dot_product_attention(heads(p.q), heads(p.k), heads(p.v), bias).reshape(p.q.sizes()));
}

/// The sums of products that the result needs: padding as keys, not as queries.
template <SamConfig C>
double useful_flops(dim side) {
  return 4.0 * static_cast<double>(grid(C) * grid(C) * side * side * C.hidden);
}

template <SamConfig C, at::ScalarType Dtype, bool Global, at::Tensor (*Attend)(const Block<C>&)>
void attention(benchmark::State& state) {
  const c10::InferenceMode inference;
  const Block<C> block(Global ? grid(C) : C.window, Dtype);
  const at::Tensor kernel = by_kernel(block).to(at::kFloat);
  const at::Tensor found = Attend(block).to(at::kFloat);
  const at::Tensor same = found.dim() == 4 ? found : block.tokens(found);
  const double difference = same.sub(kernel).norm().item<double>() / kernel.norm().item<double>();
  if (!(difference < 3e-2)) return state.SkipWithError("the outputs differ");
  for (auto _ : state) benchmark::DoNotOptimize(Attend(block));
  state.counters["GFLOP/s"] =
      benchmark::Counter(useful_flops<C>(block.side) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["difference"] = difference;
}

void timing(benchmark::internal::Benchmark* bench) {
  bench->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();
}

constexpr bool global = true, windows = false;

BENCHMARK(attention<sam_vit_h, at::kBFloat16, global, by_kernel<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kBFloat16, global, by_avx2_kernel<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kBFloat16, global, by_original<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kBFloat16, global, by_dense_bias<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kBFloat16, windows, by_kernel<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kBFloat16, windows, by_avx2_kernel<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kBFloat16, windows, by_original<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kBFloat16, windows, by_dense_bias<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kFloat, global, by_kernel<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kFloat, global, by_avx2_kernel<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kFloat, global, by_original<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kFloat, global, by_dense_bias<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kFloat, windows, by_kernel<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kFloat, windows, by_avx2_kernel<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kFloat, windows, by_original<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_h, at::kFloat, windows, by_dense_bias<sam_vit_h>>)->Apply(timing);
BENCHMARK(attention<sam_vit_b, at::kBFloat16, global, by_kernel<sam_vit_b>>)->Apply(timing);
BENCHMARK(attention<sam_vit_b, at::kBFloat16, global, by_original<sam_vit_b>>)->Apply(timing);
BENCHMARK(attention<sam_vit_b, at::kBFloat16, global, by_dense_bias<sam_vit_b>>)->Apply(timing);
BENCHMARK(attention<sam_vit_b, at::kBFloat16, windows, by_kernel<sam_vit_b>>)->Apply(timing);
BENCHMARK(attention<sam_vit_b, at::kBFloat16, windows, by_original<sam_vit_b>>)->Apply(timing);
BENCHMARK(attention<sam_vit_b, at::kBFloat16, windows, by_dense_bias<sam_vit_b>>)->Apply(timing);

}  // namespace
