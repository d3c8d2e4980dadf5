#pragma once

#include "lisa/config/dim.hpp"

namespace lisa {

/// Numbers of a LLaMA-architecture language model (RMSNorm, rotary embedding, SwiGLU, grouped-query attention).
/// Defaults are LLaMA-7B (Touvron et al. 2023, table 2) with its original vocabulary.
struct LlamaConfig {
  dim vocab = 32000;        ///< rows of embed_tokens and lm_head, added tokens included
  dim hidden = 4096;        ///< model width
  dim mlp = 11008;          ///< width inside the SwiGLU MLP
  dim layers = 32;          ///< decoder blocks
  dim heads = 32;           ///< query heads
  dim kv_heads = 32;        ///< key/value heads; fewer than `heads` is grouped-query attention
  dim context = 2048;       ///< longest sequence in tokens, visual tokens included
  double eps = 1e-6;        ///< RMSNorm epsilon
  double rope_theta = 1e4;  ///< base of the rotary frequencies
  bool operator==(const LlamaConfig&) const = default;
};

/// Visits every field with the name that config.json gives it: `visit(name, value)`.
template <class Config, class Visitor>
  requires SameConfig<Config, LlamaConfig>
constexpr void fields(Config& c, Visitor&& visit) {
  visit("vocab_size", c.vocab);
  visit("hidden_size", c.hidden);
  visit("intermediate_size", c.mlp);
  visit("num_hidden_layers", c.layers);
  visit("num_attention_heads", c.heads);
  visit("num_key_value_heads", c.kv_heads);
  visit("max_position_embeddings", c.context);
  visit("rms_norm_eps", c.eps);
  visit("rope_theta", c.rope_theta);
}

constexpr dim head_dim(const LlamaConfig& c) { return c.heads == 0 ? 0 : c.hidden / c.heads; }

/// Width of the key and value projections.
constexpr dim kv_dim(const LlamaConfig& c) { return head_dim(c) * c.kv_heads; }

/// Parameters of one decoder block.
constexpr dim block_parameters(const LlamaConfig& c) {
  return 2 * c.hidden * c.hidden + 2 * c.hidden * kv_dim(c) + 3 * c.hidden * c.mlp + 2 * c.hidden;
}

/// Parameters of the whole model: embeddings, blocks, final norm, lm_head.
constexpr dim parameters(const LlamaConfig& c) {
  return 2 * c.vocab * c.hidden + c.layers * block_parameters(c) + c.hidden;
}

inline constexpr LlamaConfig llama_7b{};
inline constexpr LlamaConfig llama_13b{.hidden = 5120, .mlp = 13824, .layers = 40, .heads = 40, .kv_heads = 40};

}  // namespace lisa
