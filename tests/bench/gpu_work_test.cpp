// What bench/gpu times and compares on a GPU, at tiny sizes on the CPU: the plain peers compute what the library does,
// and the comparison that stands before every time notices what differs.
#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include <limits>

#include "bench/gpu/llama_work.hpp"
#include "bench/gpu/plain_llama.hpp"
#include "bench/gpu/plain_sam.hpp"
#include "bench/gpu/require_close.hpp"
#include "bench/gpu/sam_work.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::gpu_bench;

/// Windows of 3 on a grid of 8: the last ones are clipped. As deep as ViT-H, since roundings add up over the layers.
constexpr SamConfig small_sam{.image = 64,
                              .patch = 8,
                              .hidden = 48,
                              .mlp = 96,
                              .layers = 32,
                              .heads = 3,
                              .window = 3,
                              .global_blocks = {7, 15, 23, 31},
                              .prompt_dim = 16};
/// As deep as LLaMA-7B.
constexpr LlamaConfig small_llama{
    .vocab = 60, .hidden = 256, .mlp = 384, .layers = 32, .heads = 4, .kv_heads = 4, .context = 48};

TEST_CASE("the plain image encoder is the library's") {
  const c10::InferenceMode inference;
  SamImageEncoder<small_sam> encoder;
  test::fill_parameters(encoder, 1, at::kDouble);
  const at::Tensor images = test::random_tensor({2, 3, 64, 64}, 500, at::kDouble);
  const at::Tensor expected = encoder.forward(images);
  for (const PlainAttention how : {PlainAttention::dense_bias, PlainAttention::scores})
    CHECK(test::relative_l2(plain_encoder(encoder, images, how), expected) < 1e-12);
}

TEST_CASE("the plain language model is the library's, prompt and steps") {
  const c10::InferenceMode inference;
  Llama<small_llama> llm;
  test::fill_parameters(llm, 1, at::kDouble);
  llm.prepare();
  KvCache cache = llm.make_cache();
  PlainLlama<small_llama> plain(llm, at::kDouble);
  const auto agree = [&](const at::Tensor& x) {
    const Segment segment{x.size(0), &cache};
    const at::Tensor expected = llm.forward(x, {&segment, 1}), found = plain.forward(x);
    CHECK(test::relative_l2(found, expected) < 1e-6);  // the norm's statistics of fp32 at least
    CHECK(test::relative_l2(plain.logits(found), llm.logits(expected)) < 1e-6);
  };
  agree(test::random_tensor({7, small_llama.hidden}, 90, at::kDouble));
  const auto id = at::full({1}, 11, at::kLong);
  CHECK(plain.embed(id).equal(llm.embed(id)));
  agree(llm.embed(id));
  agree(test::random_tensor({1, small_llama.hidden}, 91, at::kDouble));
  cache.truncate(7);
  plain.truncate(7);
  agree(test::random_tensor({1, small_llama.hidden}, 92, at::kDouble));
}

TEST_CASE("what is timed of the image encoder is compared first") {
  const c10::InferenceMode inference;
  const SamWork<small_sam> work(at::kCPU);
  CHECK_NOTHROW(work.require_outputs("a window block", 0));
  CHECK_NOTHROW(work.require_outputs("a global block", 7));
  CHECK_NOTHROW(work.require_outputs("the encoder"));
}

TEST_CASE("what is timed of the language model is compared first, in every format") {
  const c10::InferenceMode inference;
  LlamaWeights<small_llama> weights(at::kCPU);
  const auto compare = [&](double unit) {
    LlamaWork<small_llama> work(weights.model(), weights.device(), 9);
    CHECK_NOTHROW(work.require_outputs("a model", unit));
    for (int i = 0; i < 3; ++i) CHECK(work.next_step().isfinite().all().item<bool>());
    // The order of the contenders must not matter: each continues the prompt, whatever ran before.
    const at::Tensor step = work.host_step();
    static_cast<void>(work.prefill());
    CHECK(work.host_step().equal(step));
    CHECK(work.plain_step().equal(work.plain_step()));
    CHECK(work.first_step().equal(work.first_step()));
  };
  compare(0x1p-8);
  for (const WeightFormat format : {WeightFormat::int8_row, WeightFormat::int4_group32, WeightFormat::int4_group128}) {
    weights.give_format(format);
    for (const auto& layer : weights.model().layers) {
      CHECK(quantised_format(layer.mlp.down_proj.base.weight, small_llama.mlp) == format);
      CHECK(quantised_format(layer.self_attn.q_proj.base.weight, small_llama.hidden) == format);
    }
    compare(0x1p-6);  // the CPU's products round their inputs to 8 bits
  }
}

TEST_CASE("outputs that differ are not timed") {
  CHECK_NOTHROW(require_as_close("close", 1.4e-2, 1e-2, 0x1p-8));
  CHECK_NOTHROW(require_as_close("an exact peer", 0x1p-8, 0, 0x1p-8));
  CHECK_THROWS_AS(require_as_close("far", 1.6e-2, 1e-2, 0x1p-8), MismatchError);
  CHECK_THROWS_AS(require_as_close("no number", std::numeric_limits<double>::quiet_NaN(), 1e-2, 0x1p-8), MismatchError);
  CHECK_THROWS_AS(require_as_close("a useless peer", 0.1, 0.9, 0x1p-8), MismatchError);
}

TEST_CASE("a model that computes something else is noticed") {
  const c10::InferenceMode inference;
  LlamaWeights<small_llama> weights(at::kCPU);
  Llama<small_llama> other = weights.model();  // handles of the same weights
  other.layers[1].mlp.up_proj.base.weight = other.layers[1].mlp.up_proj.base.weight.mul(1.1);
  PlainLlama<small_llama> plain(weights.model(), at::kBFloat16), exact(weights.model(), at::kFloat);
  const at::Tensor prompt = test::random_tensor({9, small_llama.hidden}, 3, at::kBFloat16);
  KvCache cache = other.make_cache();
  const Segment segment{9, &cache};
  const at::Tensor states = exact.forward(prompt);
  CHECK_THROWS_AS(require_as_close("another model", test::relative_l2(other.forward(prompt, {&segment, 1}), states),
                                   test::relative_l2(plain.forward(prompt), states), 0x1p-8),
                  MismatchError);
}

}  // namespace
