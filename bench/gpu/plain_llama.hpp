#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "bench/gpu/plain_weights.hpp"
#include "lisa/llm/llama.hpp"

namespace lisa::gpu_bench {

/// LLaMA as a module of PyTorch computes it, operator by operator, over the weights of the library's own: the peer of
/// the benches, and in fp32 what both are held against. Keys and values grow by concatenation.
template <LlamaConfig C>
class PlainLlama {
 public:
  static_assert(C.heads == C.kv_heads, "PlainLlama: every query head has a key head of its own");

  /// @param llm    prepared; its weights are used, and must outlive this
  /// @param dtype  in which everything is computed
  PlainLlama(const Llama<C>& llm, at::ScalarType dtype)
      : llm_(llm),
        dtype_(dtype),
        cosine_(llm.rotary.cosine.to(dtype)),
        sine_(llm.rotary.sine.to(dtype)),
        keys_(llm.layers.size()),
        values_(llm.layers.size()) {}

  /// x [T, hidden], a prompt before anything is held, or one row behind what is -> last hidden states [T, hidden].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) {
    at::Tensor hidden = x.to(dtype_);
    for (std::size_t layer = 0; layer < llm_.layers.size(); ++layer) {
      const auto& block = llm_.layers[layer];
      hidden = hidden.add(attend(block.self_attn, norm(block.input_layernorm, hidden), layer));
      const at::Tensor inner = norm(block.post_attention_layernorm, hidden);
      const at::Tensor gate = at::silu(plain_linear(inner, block.mlp.gate_proj.base.weight));
      const at::Tensor gated = gate.mul(plain_linear(inner, block.mlp.up_proj.base.weight));
      hidden = hidden.add(plain_linear(gated, block.mlp.down_proj.base.weight));
    }
    held_ += x.size(0);
    return norm(llm_.norm, hidden);
  }

  /// ids [T], int64 -> [T, hidden].
  [[nodiscard]] at::Tensor embed(const at::Tensor& ids) const { return at::embedding(llm_.embed_tokens, ids); }

  /// hidden [T, hidden] -> logits [T, vocab].
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden) const { return plain_linear(hidden, llm_.lm_head.weight); }

  /// Keeps the first `length` positions.
  void truncate(dim length) {
    held_ = std::min(held_, length);
    for (auto* const all : {&keys_, &values_})
      for (at::Tensor& held : *all)
        if (held.defined()) held = held.narrow(1, 0, held_);
  }

 private:
  static constexpr dim width = head_dim(C);

  [[nodiscard]] static at::Tensor norm(const RmsNorm<C.hidden>& norm, const at::Tensor& x) {
    const at::Tensor wide = x.to(c10::promoteTypes(x.scalar_type(), at::kFloat));
    const at::Tensor scale = wide.square().mean(-1, /*keepdim=*/true).add(norm.eps).rsqrt();
    return norm.weight.to(x.scalar_type()).mul(wide.mul(scale).to(x.scalar_type()));
  }

  /// x [heads, T, width] at the positions behind those held.
  [[nodiscard]] at::Tensor rotated(const at::Tensor& x) const {
    const at::Tensor low = x.narrow(-1, 0, width / 2), high = x.narrow(-1, width / 2, width / 2);
    const auto of_rows = [&](const at::Tensor& table) { return table.narrow(0, held_, x.size(1)); };
    return x.mul(of_rows(cosine_)).add(at::cat({high.neg(), low}, -1).mul(of_rows(sine_)));
  }

  template <class Attention>
  [[nodiscard]] at::Tensor attend(const Attention& attention, const at::Tensor& x, std::size_t layer) {
    const auto heads = [&](const auto& projection) {  // [heads, T, width]
      return plain_linear(x, projection.base.weight).view({x.size(0), C.heads, width}).transpose(0, 1);
    };
    const auto append = [](at::Tensor& held, const at::Tensor& rows) {
      held = held.defined() ? at::cat({held, rows}, 1) : rows;
      return held.unsqueeze(0);
    };
    const at::Tensor q = rotated(heads(attention.q_proj)).unsqueeze(0);
    const at::Tensor keys = append(keys_[layer], rotated(heads(attention.k_proj)));
    const at::Tensor values = append(values_[layer], heads(attention.v_proj));
    // A prompt stands behind nothing, and a step's only row sees all keys: no mask is needed.
    const at::Tensor attended =
        at::scaled_dot_product_attention(q, keys, values, {}, 0.0, /*is_causal=*/x.size(0) > 1)[0];
    return plain_linear(attended.transpose(0, 1).reshape({x.size(0), C.hidden}), attention.o_proj.base.weight);
  }

  const Llama<C>& llm_;
  at::ScalarType dtype_;
  at::Tensor cosine_, sine_;               // [context, width]
  std::vector<at::Tensor> keys_, values_;  // of each layer, [heads, held, width]
  dim held_ = 0;
};

}  // namespace lisa::gpu_bench
