#pragma once

#include "lisa/config/dim.hpp"
#include "lisa/config/llama.hpp"

namespace lisa {

/// Low-rank adapters (Hu et al. 2021) on chosen projections of every decoder block. Defaults are LISA's: rank 8,
/// alpha 16, query and value (LISA train_ds.py). `rank == 0` means no adapters.
struct LoraConfig {
  dim rank = 8;
  double alpha = 16;
  double dropout = 0.05;  ///< on the adapter's input, in training only
  bool q = true, k = false, v = true, o = false, gate = false, up = false, down = false;
  bool operator==(const LoraConfig&) const = default;
};

inline constexpr LoraConfig no_lora{.rank = 0, .q = false, .v = false};

template <class Config, class Visitor>
  requires SameConfig<Config, LoraConfig>
constexpr void fields(Config& c, Visitor&& visit) {
  visit("r", c.rank);
  visit("lora_alpha", c.alpha);
  visit("lora_dropout", c.dropout);
  visit("q_proj", c.q);
  visit("k_proj", c.k);
  visit("v_proj", c.v);
  visit("o_proj", c.o);
  visit("gate_proj", c.gate);
  visit("up_proj", c.up);
  visit("down_proj", c.down);
}

/// Factor on the low-rank product, alpha / rank.
constexpr double scaling(const LoraConfig& c) { return c.rank == 0 ? 0.0 : c.alpha / static_cast<double>(c.rank); }

/// Adapter parameters added to a model: rank * (in + out) for every adapted projection of every block.
constexpr dim parameters(const LlamaConfig& m, const LoraConfig& l) {
  const dim h = m.hidden;
  const dim in_plus_out = l.q * 2 * h + l.k * (h + kv_dim(m)) + l.v * (h + kv_dim(m)) + l.o * 2 * h +
                          (dim{l.gate} + dim{l.up} + dim{l.down}) * (h + m.mlp);
  return m.layers * l.rank * in_plus_out;
}

}  // namespace lisa
