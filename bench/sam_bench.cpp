// Segment Anything's parts at their real sizes with random weights, and beside each what plain ATen needs for the same
// matrix products or interpolations. The encoder benches run once for each repetition, because ViT-H takes many
// seconds:
// --benchmark_repetitions=3 gives statistics. bench/compare/sam_encoder.py and mask_decoder.py measure Hugging Face's
// modules. OMP_NUM_THREADS sets the number of threads.

#include <ATen/ops/gt.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <vector>

#include "bench/matrix_products.hpp"
#include "bench/random_weights.hpp"
#include "lisa/model/mask_bits.hpp"
#include "lisa/model/quantisable.hpp"
#include "lisa/nn/quantised_linear.hpp"
#include "lisa/sam/image_encoder.hpp"
#include "lisa/sam/mask_decoder.hpp"
#include "lisa/sam/prompt_encoder.hpp"
#include "lisa/sam/upsample.hpp"
#include "lisa/sam/window.hpp"

namespace {

using namespace lisa;
using bench::MatrixProduct;

/// Padding tokens of windows count as keys, not as queries nor in the linear layers: what has to be computed.
template <SamConfig C>
std::vector<MatrixProduct> encoder_products() {
  constexpr dim g = grid(C), tokens = g * g;
  std::vector<MatrixProduct> products{
      {0, tokens, 3 * C.patch * C.patch, C.hidden}, {0, tokens, C.hidden, 3 * C.hidden, C.layers},
      {0, tokens, C.hidden, C.hidden, C.layers},    {0, tokens, C.hidden, C.mlp, C.layers},
      {0, tokens, C.mlp, C.hidden, C.layers},       {0, tokens, C.hidden, C.prompt_dim},
      {0, tokens, 9 * C.prompt_dim, C.prompt_dim}};
  dim global = 0;
  for (dim i = 0; i < C.layers; ++i) global += attention_side(C, i) == g ? 1 : 0;
  const auto attention = [&](dim side, dim blocks) {
    for (const WindowRun& rows : window_runs(g, side)) {
      for (const WindowRun& columns : window_runs(g, side)) {
        const dim batch = rows.count * columns.count * C.heads, queries = rows.extent * columns.extent;
        products.push_back({batch, queries, head_dim(C), side * side, blocks});
        products.push_back({batch, queries, side * side, head_dim(C), blocks});
      }
    }
  };
  attention(g, global);
  if (global < C.layers) attention(C.window, C.layers - global);
  return products;
}

template <SamConfig C, at::ScalarType Dtype>
void sam_encoder(benchmark::State& state) {
  const c10::InferenceMode inference;
  SamImageEncoder<C> encoder;
  bench::fill_random(encoder, Dtype);
  const at::Tensor image = bench::random({1, 3, C.image, C.image}, Dtype);
  for (auto _ : state) benchmark::DoNotOptimize(encoder.forward(image));
  bench::count_flops(state, encoder_products<C>());
}

/// The same with the linear layers that `lisa convert --image-encoder-weights int8` takes in 8 bits, inputs in bf16;
/// "error" is the relative L2 difference of the embedding from that of the weights before.
template <SamConfig C>
void sam_encoder_int8(benchmark::State& state) {
  const c10::InferenceMode inference;
  SamImageEncoder<C> encoder;
  bench::fill_random(encoder, at::kBFloat16);
  const at::Tensor image = bench::random({1, 3, C.image, C.image}, at::kBFloat16);
  const at::Tensor expected = encoder.forward(image).to(at::kFloat);
  encoder.for_each_parameter("model.visual_model.image_encoder",
                             [](const std::string& name, at::Tensor& weight, const Shape&) {
                               if (is_quantised_in_image_encoder(name, C.layers))
                                 weight = quantised(weight, WeightFormat::int8_row);
                             });
  at::Tensor found;
  for (auto _ : state) benchmark::DoNotOptimize(found = encoder.forward(image));
  state.counters["error"] = found.to(at::kFloat).sub(expected).norm().item<double>() / expected.norm().item<double>();
  bench::count_flops(state, encoder_products<C>());
}

template <SamConfig C, at::ScalarType Dtype>
void sam_encoder_plain_products(benchmark::State& state) {
  const c10::InferenceMode inference;
  bench::run_products(state, encoder_products<C>(), Dtype);
}

/// One text token for each prompt. What depends on the image alone in the first block is computed once.
template <SamConfig C>
std::vector<MatrixProduct> decoder_products(dim prompts) {
  constexpr dim d = C.prompt_dim, inner = d / C.attention_downsample, heads = C.decoder_heads;
  constexpr dim pixels = grid(C) * grid(C), per_prompt = 1 + mask_tokens(C) + 1;
  const dim tokens = prompts * per_prompt;
  std::vector<MatrixProduct> products;
  const auto tokens_to_image = [&](dim images) {
    products.push_back({0, tokens, d, inner});
    products.push_back({0, images * pixels, d, inner, 2});
    products.push_back({images * heads, tokens / images, inner / heads, pixels});
    products.push_back({images * heads, tokens / images, pixels, inner / heads});
    products.push_back({0, tokens, inner, d});
  };
  for (dim layer = 0; layer < C.decoder_layers; ++layer) {
    const dim images = layer == 0 ? 1 : prompts;
    products.push_back({0, tokens, d, d, 4});
    products.push_back({prompts * heads, per_prompt, d / heads, per_prompt});
    products.push_back({prompts * heads, per_prompt, per_prompt, d / heads});
    tokens_to_image(images);
    products.push_back({0, tokens, d, C.decoder_mlp});
    products.push_back({0, tokens, C.decoder_mlp, d});
    products.push_back({0, images * pixels, d, inner});
    products.push_back({0, tokens, d, inner, 2});
    products.push_back({prompts * heads, pixels, inner / heads, per_prompt});
    products.push_back({prompts * heads, pixels, per_prompt, inner / heads});
    products.push_back({0, prompts * pixels, inner, d});
  }
  tokens_to_image(prompts);
  products.push_back({0, prompts * pixels, d, d});              // 4 pixels of d / 4 channels
  products.push_back({0, prompts * 4 * pixels, d / 4, d / 2});  // 4 pixels of d / 8 channels
  products.push_back({prompts, 1, d / 8, 16 * pixels});
  return products;
}

template <SamConfig C, at::ScalarType Dtype>
void mask_decoder(benchmark::State& state) {
  const c10::InferenceMode inference;
  SamMaskDecoder<C> decoder;
  SamPromptEncoder<C> prompt_encoder;
  bench::fill_random(decoder, Dtype);
  bench::fill_random(prompt_encoder, Dtype);
  // With the channels innermost, as the encoder makes it.
  const at::Tensor image = bench::random({1, grid(C), grid(C), C.prompt_dim}, Dtype).permute({0, 3, 1, 2});
  const at::Tensor text = bench::random({state.range(0), 1, C.prompt_dim}, Dtype);
  const at::Tensor positions = prompt_encoder.dense_pe();
  for (auto _ : state) {
    benchmark::DoNotOptimize(decoder.forward(image, positions, prompt_encoder.forward(text)).low_res_masks);
  }
  bench::count_flops(state, decoder_products<C>(state.range(0)));
}

template <SamConfig C, at::ScalarType Dtype>
void mask_decoder_plain_products(benchmark::State& state) {
  const c10::InferenceMode inference;
  bench::run_products(state, decoder_products<C>(state.range(0)), Dtype);
}

constexpr dim side = sam_vit_h.image;

/// Masks of a picture of range(1) x range(2) pixels; the rate counts the bytes of their fp32 logits.
struct MaskCase {
  explicit MaskCase(benchmark::State& state)
      : masks(bench::random({state.range(0), 1, low_res_side, low_res_side}, at::kFloat).mul(5)),
        original{state.range(2), state.range(1)} {
    const double scale = static_cast<double>(side) / static_cast<double>(std::max(original.height, original.width));
    resized = {static_cast<dim>(static_cast<double>(original.height) * scale + 0.5),
               static_cast<dim>(static_cast<double>(original.width) * scale + 0.5)};
    const double bytes = 4.0 * static_cast<double>(state.range(0) * original.height * original.width);
    state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  }

  static constexpr dim low_res_side = lisa::low_res(sam_vit_h);
  at::Tensor masks;
  ImageExtent original, resized;
};

void masks_as_logits(benchmark::State& state) {
  const c10::InferenceMode inference;
  const MaskCase c(state);
  for (auto _ : state) benchmark::DoNotOptimize(mask_logits(c.masks, side, c.resized, c.original));
}

/// Straight to bits, as answers have them.
void masks_as_bits(benchmark::State& state) {
  const c10::InferenceMode inference;
  const MaskCase c(state);
  for (auto _ : state) benchmark::DoNotOptimize(mask_bits(c.masks.select(1, 0), side, c.resized, c.original));
}

/// Thresholded, with stability scores.
void masks_as_bools(benchmark::State& state) {
  const c10::InferenceMode inference;
  const MaskCase c(state);
  for (auto _ : state) benchmark::DoNotOptimize(binary_masks(c.masks, side, c.resized, c.original).masks);
}

/// As the original: all masks through both interpolations, then the threshold.
void masks_plain(benchmark::State& state) {
  const c10::InferenceMode inference;
  const MaskCase c(state);
  for (auto _ : state) {
    const at::Tensor square = at::upsample_bilinear2d(c.masks, {side, side}, false);
    const at::Tensor part = square.narrow(2, 0, c.resized.height).narrow(3, 0, c.resized.width);
    benchmark::DoNotOptimize(at::upsample_bilinear2d(part, {c.original.height, c.original.width}, false).gt(0));
  }
}

void timing(benchmark::internal::Benchmark* bench) {
  bench->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();
}

void once(benchmark::internal::Benchmark* bench) {
  timing(bench);
  bench->Iterations(1);
}

void prompts(benchmark::internal::Benchmark* bench) {
  timing(bench);
  bench->ArgName("prompts")->Arg(1)->Arg(16);
}

void pictures(benchmark::internal::Benchmark* bench) {
  timing(bench);
  bench->ArgNames({"masks", "width", "height"});
  for (const int masks : {1, 16}) bench->Args({masks, 1920, 1080})->Args({masks, 3840, 2160});
}

BENCHMARK(sam_encoder<sam_vit_b, at::kBFloat16>)->Apply(once);
BENCHMARK(sam_encoder_plain_products<sam_vit_b, at::kBFloat16>)->Apply(once);
BENCHMARK(sam_encoder_int8<sam_vit_b>)->Apply(once);
BENCHMARK(sam_encoder<sam_vit_b, at::kFloat>)->Apply(once);
BENCHMARK(sam_encoder_plain_products<sam_vit_b, at::kFloat>)->Apply(once);
BENCHMARK(sam_encoder<sam_vit_h, at::kBFloat16>)->Apply(once);
BENCHMARK(sam_encoder_plain_products<sam_vit_h, at::kBFloat16>)->Apply(once);
BENCHMARK(sam_encoder_int8<sam_vit_h>)->Apply(once);
BENCHMARK(sam_encoder<sam_vit_h, at::kFloat>)->Apply(once);
BENCHMARK(sam_encoder_plain_products<sam_vit_h, at::kFloat>)->Apply(once);
BENCHMARK(mask_decoder<sam_vit_h, at::kBFloat16>)->Apply(prompts);
BENCHMARK(mask_decoder_plain_products<sam_vit_h, at::kBFloat16>)->Apply(prompts);
BENCHMARK(mask_decoder<sam_vit_h, at::kFloat>)->Apply(prompts);
BENCHMARK(mask_decoder_plain_products<sam_vit_h, at::kFloat>)->Apply(prompts);
BENCHMARK(masks_as_logits)->Apply(pictures);
BENCHMARK(masks_as_bits)->Apply(pictures);
BENCHMARK(masks_as_bools)->Apply(pictures);
BENCHMARK(masks_plain)->Apply(pictures);

}  // namespace
