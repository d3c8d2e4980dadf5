#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <cstddef>
#include <string>
#include <vector>

#include "bench/gpu/plain_llama.hpp"
#include "bench/gpu/require_close.hpp"
#include "bench/gpu/unit_gain.hpp"
#include "lisa/llm/decode_step.hpp"
#include "lisa/llm/llama.hpp"
#include "lisa/nn/quantised_linear.hpp"
#include "tests/support/tensor_compare.hpp"

namespace lisa::gpu_bench {

/// A language model with random weights in bf16 on any device, whose projections can be given another format.
template <LlamaConfig C>
class LlamaWeights {
 public:
  explicit LlamaWeights(c10::Device device) : device_(device) {
    fill_unit_gain(llm_, at::TensorOptions().dtype(at::kBFloat16).device(device));
    llm_.prepare();
    llm_.layers.front().for_each_projection(
        "", [&](const std::string&, auto& projection) { first_layer_.push_back(projection.base.weight.to(at::kCPU)); });
  }

  [[nodiscard]] const Llama<C>& model() const { return llm_; }
  [[nodiscard]] c10::Device device() const { return device_; }

  /// Holds the projections as `lisa convert --weights` does; embeddings and head stay in bf16. Each layer gets the
  /// first one's values in memory of its own: what a step takes does not depend on values, and to quantise all would
  /// take longer than everything else.
  void give_format(WeightFormat format) {
    for (std::size_t i = 0; i < first_layer_.size(); ++i) {
      const at::Tensor bytes = quantised(first_layer_[i], format);
      for (auto& layer : llm_.layers) {
        std::size_t at = 0;
        layer.for_each_projection("", [&](const std::string&, auto& projection) {
          if (at++ == i) projection.base.weight = bytes.to(device_, at::kByte, /*non_blocking=*/false, /*copy=*/true);
        });
      }
    }
  }

 private:
  c10::Device device_;
  Llama<C> llm_;
  std::vector<at::Tensor> first_layer_;  // its projections in bf16, on the CPU
};

/// A prompt and a step behind it by such a model: the library's way and ATen's operators.
template <LlamaConfig C>
class LlamaWork {
 public:
  /// @param llm   must outlive this
  /// @param rows  of the prompt
  LlamaWork(const Llama<C>& llm, c10::Device device, dim rows)
      : llm_(llm),
        prompt_(at::empty({rows, C.hidden}, at::TensorOptions().dtype(at::kBFloat16).device(device)).normal_()),
        token_(at::full({1}, C.vocab / 2, at::TensorOptions().dtype(at::kLong).device(device))),
        plain_(llm, at::kBFloat16),
        in_place_cache_(held_prompt()),
        host_cache_(held_prompt()),
        step_(llm, in_place_cache_, device, /*end_token=*/-1) {
    static_cast<void>(plain_.forward(prompt_));
    step_.start(C.vocab / 2);
  }
  LlamaWork(const LlamaWork&) = delete;
  LlamaWork& operator=(const LlamaWork&) = delete;

  /// The whole prompt into an empty cache -> last hidden states [rows, hidden].
  [[nodiscard]] at::Tensor prefill() {
    host_cache_.truncate(0);
    const Segment segment{prompt_.size(0), &host_cache_};
    return llm_.forward(prompt_, {&segment, 1});
  }
  [[nodiscard]] at::Tensor plain_prefill() {
    PlainLlama<C> empty(llm_, at::kBFloat16);
    return empty.forward(prompt_);
  }

  /// The next step of an answer as `generate` takes it, one CUDA graph on a GPU; each one is a position further.
  [[nodiscard]] at::Tensor next_step() { return step_.run(/*keep=*/false).logits; }

  /// The step behind the prompt, again and again -> logits [1, vocab].
  [[nodiscard]] at::Tensor first_step() {
    step_.start(C.vocab / 2);
    return step_.run(/*keep=*/true).logits;
  }
  [[nodiscard]] at::Tensor host_step() {
    const Segment segment{1, &host_cache_};
    const at::Tensor hidden = llm_.forward(llm_.embed(token_), {&segment, 1});
    host_cache_.truncate(prompt_.size(0));
    return llm_.logits(hidden);
  }
  [[nodiscard]] at::Tensor plain_step() {
    const at::Tensor hidden = plain_.forward(plain_.embed(token_));
    plain_.truncate(prompt_.size(0));
    return plain_.logits(hidden);
  }

  /// Holds all ways against ATen's operators in fp32; the recorded step as it is run, recorded and replayed.
  /// @param unit  unit roundoff of what the library rounds to: bf16's, or the inputs' of products with quantised
  ///              weights where it rounds these further
  /// @throws MismatchError
  void require_outputs(const std::string& name, double unit = 0x1p-8) {
    PlainLlama<C> exact(llm_, at::kFloat);
    const at::Tensor states = exact.forward(prompt_);
    require_as_close(name + ", prefill", test::relative_l2(prefill(), states),
                     test::relative_l2(plain_prefill(), states), unit);
    const at::Tensor logits = exact.logits(exact.forward(exact.embed(token_)));
    const double of_plain = test::relative_l2(plain_step(), logits);
    for (int i = 0; i < 3; ++i)
      require_as_close(name + ", step in place", test::relative_l2(first_step(), logits), of_plain, unit);
    require_as_close(name + ", step of the host", test::relative_l2(host_step(), logits), of_plain, unit);
    step_.start(C.vocab / 2);
  }

 private:
  [[nodiscard]] KvCache held_prompt() const {
    KvCache cache = Llama<C>::make_cache();
    const Segment segment{prompt_.size(0), &cache};
    static_cast<void>(llm_.forward(prompt_, {&segment, 1}));
    return cache;
  }

  const Llama<C>& llm_;
  at::Tensor prompt_;  // [rows, hidden]
  at::Tensor token_;   // int64 [1]
  PlainLlama<C> plain_;
  KvCache in_place_cache_, host_cache_;
  DecodeStep<Llama<C>> step_;
};

}  // namespace lisa::gpu_bench
