#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/llama.hpp"
#include "lisa/config/lora.hpp"
#include "lisa/gpu/gemv.hpp"
#include "lisa/llm/branched_rows.hpp"
#include "lisa/llm/draft_tree.hpp"
#include "lisa/llm/kv_cache.hpp"
#include "lisa/nn/causal_attention.hpp"
#include "lisa/nn/decode_attention.hpp"
#include "lisa/nn/decode_position.hpp"
#include "lisa/nn/linear.hpp"
#include "lisa/nn/lora_linear.hpp"
#include "lisa/nn/masked_attention.hpp"
#include "lisa/nn/rms_norm.hpp"
#include "lisa/nn/rotary.hpp"

namespace lisa {

/// A run of consecutive rows of a packed batch that belong to one sequence. With a cache the rows continue it; without
/// one they are a whole sequence of their own.
struct Segment {
  dim rows = 0;
  KvCache* cache = nullptr;
  /// With these the last rows are drafts of what may follow: the cache stores them behind the sequence, and they become
  /// no part of it (`KvCache::adopt`). Needs a cache.
  const DraftRows* drafts = nullptr;

  [[nodiscard]] dim drafted() const { return drafts == nullptr ? 0 : drafts->count; }
};

/// Where a step of decoding runs: at one new position of a sequence.
struct DecodePlace {
  KvCache* cache = nullptr;  ///< its storage is at its limit (`KvCache::reserve_limit`)
  DecodePosition position;   ///< behind what the cache holds
};

/// Self-attention of one LLaMA block over a packed batch of sequences of any lengths.
template <LlamaConfig C, LoraConfig L>
struct LlamaAttention {
  static constexpr dim width = head_dim(C);

  LoraLinear<C.hidden, C.hidden, L, L.q> q_proj;
  LoraLinear<C.hidden, kv_dim(C), L, L.k> k_proj;
  LoraLinear<C.hidden, kv_dim(C), L, L.v> v_proj;
  LoraLinear<C.hidden, C.hidden, L, L.o> o_proj;

  /// x [rows, hidden] -> [rows, hidden].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, std::span<const Segment> segments, dim layer,
                                   const RotaryEmbedding<width>& rotary) const {
    const at::Tensor q = split_heads(q_proj.forward(x), C.heads);     // [heads, rows, width]
    const at::Tensor k = split_heads(k_proj.forward(x), C.kv_heads);  // [kv_heads, rows, width]
    const at::Tensor v = split_heads(v_proj.forward(x), C.kv_heads);  // [kv_heads, rows, width]
    std::vector<at::Tensor> outputs;
    dim begin = 0;
    for (const Segment& segment : segments) {
      const auto rows = [&](const at::Tensor& t) { return t.narrow(1, begin, segment.rows); };
      outputs.push_back(attend(rows(q), rows(k), rows(v), segment, layer, rotary));
      begin += segment.rows;
    }
    return o_proj.forward(outputs.size() == 1 ? outputs.front() : aten::cat(outputs, 0));
  }

  /// x [items * T, hidden] -> the same. @param angles the rotary table at every row's position, [items * T, width]
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, const BranchedRows& rows,
                                   const RotaryEmbedding<width>& angles) const {
    if (rows.attend) return forward_plain(x, rows.attend, angles);
    const auto heads = [&](const at::Tensor& t) {  // [items * T, h * width] -> [items, h, T, width]
      return t.view({rows.items, rows.length, t.size(1) / width, width}).transpose(1, 2);
    };
    const auto of_rows = [&](const at::Tensor& t) { return t.view({rows.items, 1, rows.length, width}); };
    const at::Tensor c = of_rows(angles.cosine), s = of_rows(angles.sine);
    const at::Tensor q = RotaryEmbedding<width>::rotated(heads(q_proj.forward(x)), c, s);
    const at::Tensor k = RotaryEmbedding<width>::rotated(heads(k_proj.forward(x)), c, s);
    const at::Tensor attended = masked_attention(q, k, heads(v_proj.forward(x)), rows.bias);
    return o_proj.forward(attended.transpose(1, 2).reshape({rows.items * rows.length, C.hidden}));
  }

  /// x [1, hidden], the row of one new position -> the same.
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, const DecodePlace& place, dim layer,
                                   const RotaryEmbedding<width>& rotary) const {
    const auto heads = [](const at::Tensor& t) { return t.view({-1, width}); };  // [1, h * width] -> [h, width]
    const auto [keys, values] = place.cache->storage(layer);
    const at::Tensor attended = decode_attention(heads(q_proj.forward(x)), heads(k_proj.forward(x)),
                                                 heads(v_proj.forward(x)), rotary, keys, values, place.position);
    return o_proj.forward(attended.view({1, C.hidden}));
  }

  /// `visit(name, projection)` for the four projections.
  template <class Visitor>
  void for_each_projection(const std::string& prefix, Visitor&& visit) {
    visit(scoped(prefix, "q_proj"), q_proj);
    visit(scoped(prefix, "k_proj"), k_proj);
    visit(scoped(prefix, "v_proj"), v_proj);
    visit(scoped(prefix, "o_proj"), o_proj);
  }

 private:
  /// x [rows, hidden] of plain sequences -> the same. @param angles [rows, width]
  [[nodiscard]] at::Tensor forward_plain(const at::Tensor& x, const RowAttention& attend,
                                         const RotaryEmbedding<width>& angles) const {
    const auto heads = [](const at::Tensor& t) { return t.view({t.size(0), -1, width}); };  // [rows, h, width]
    const at::Tensor c = angles.cosine.unsqueeze(1), s = angles.sine.unsqueeze(1);          // [rows, 1, width]
    const at::Tensor q = RotaryEmbedding<width>::rotated(heads(q_proj.forward(x)), c, s);
    const at::Tensor k = RotaryEmbedding<width>::rotated(heads(k_proj.forward(x)), c, s);
    return o_proj.forward(attend(q, k, heads(v_proj.forward(x))).reshape({x.size(0), C.hidden}));
  }

  static at::Tensor split_heads(const at::Tensor& x, dim heads) {
    return x.view({x.size(0), heads, width}).transpose(0, 1);
  }

  /// One sequence: [heads, T, width] -> [T, hidden].
  static at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Segment& segment,
                           dim layer, const RotaryEmbedding<width>& rotary) {
    const dim first = segment.cache == nullptr ? 0 : segment.cache->length();
    if (segment.drafted() > 0) return attend_with_drafts(q, k, v, segment, layer, rotary);
    const at::Tensor query = rotary.rotate(q, first);
    at::Tensor keys = rotary.rotate(k, first), values = v;
    if (segment.cache != nullptr) {
      auto [all_keys, all_values] = segment.cache->append(layer, keys, values);
      keys = all_keys;
      values = all_values;
    }
    return causal_attention(query, keys, values).transpose(0, 1).reshape({segment.rows, C.hidden});
  }

  /// The same when drafts stand behind the sequence's own rows: each sees the sequence and the drafts that lead to it.
  static at::Tensor attend_with_drafts(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                       const Segment& segment, dim layer, const RotaryEmbedding<width>& rotary) {
    const DraftRows& drafts = *segment.drafts;
    const dim first = segment.cache->length(), own = segment.rows - drafts.count, length = first + own;
    const RotaryEmbedding<width> angles = rotary.at_positions(drafts.depths.add(length - 1));
    const auto rotated = [&](const at::Tensor& x) {
      return aten::cat({rotary.rotate(x.narrow(1, 0, own), first),
                        RotaryEmbedding<width>::rotated(x.narrow(1, own, drafts.count), angles.cosine, angles.sine)},
                       1);
    };
    const at::Tensor query = rotated(q);  // [heads, rows, width]
    const auto [keys, values] = segment.cache->append(layer, rotated(k), v);
    const at::Tensor of_sequence =
        causal_attention(query.narrow(1, 0, own), keys.narrow(1, 0, length), values.narrow(1, 0, length));
    const at::Tensor of_drafts =
        masked_attention(query.narrow(1, own, drafts.count).unsqueeze(0), keys.unsqueeze(0), values.unsqueeze(0),
                         aten::constant_pad_nd(drafts.bias, {length, 0}))[0];
    return aten::cat({of_sequence, of_drafts}, 1).transpose(0, 1).reshape({segment.rows, C.hidden});
  }
};

/// SwiGLU feed-forward layer (Shazeer 2020).
template <LlamaConfig C, LoraConfig L>
struct LlamaMlp {
  LoraLinear<C.hidden, C.mlp, L, L.gate> gate_proj;
  LoraLinear<C.hidden, C.mlp, L, L.up> up_proj;
  LoraLinear<C.mlp, C.hidden, L, L.down> down_proj;

  /// Adds the layer's result to a residual. x, residual [rows, hidden] -> [rows, hidden].
  [[nodiscard]] at::Tensor forward_onto(const at::Tensor& residual, const at::Tensor& x) const {
    return down_proj.forward_onto(residual, gated(x));
  }

  template <class Visitor>
  void for_each_projection(const std::string& prefix, Visitor&& visit) {
    visit(scoped(prefix, "gate_proj"), gate_proj);
    visit(scoped(prefix, "up_proj"), up_proj);
    visit(scoped(prefix, "down_proj"), down_proj);
  }

 private:
  /// silu(gate) * up, [rows, mlp].
  [[nodiscard]] at::Tensor gated(const at::Tensor& x) const {
    if (!gate_proj.adapts() && !up_proj.adapts())
      if (auto both = gpu::gated_gemv(x, gate_proj.base.weight, up_proj.base.weight)) return *std::move(both);
    at::Tensor gate = gate_proj.forward(x);
    const at::Tensor up = up_proj.forward(x);
    // Without gradients in the memory of `gate`, since fresh memory costs more than the arithmetic.
    if (at::GradMode::is_enabled()) return aten::silu(gate).mul(up);
    return aten::silu_(gate).mul_(up);
  }
};

/// One decoder block: attention and feed-forward, each behind a norm and beside a residual.
template <LlamaConfig C, LoraConfig L>
struct LlamaBlock {
  RmsNorm<C.hidden> input_layernorm{.eps = C.eps, .weight = {}};
  LlamaAttention<C, L> self_attn;
  RmsNorm<C.hidden> post_attention_layernorm{.eps = C.eps, .weight = {}};
  LlamaMlp<C, L> mlp;

  /// x [rows, hidden] -> [rows, hidden].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, std::span<const Segment> segments, dim layer,
                                   const RotaryEmbedding<head_dim(C)>& rotary) const {
    return feed_forward(x, self_attn.forward(input_layernorm.forward(x), segments, layer, rotary));
  }

  /// x [items * T, hidden] -> the same. @param angles the rotary table at every row's position
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, const BranchedRows& rows,
                                   const RotaryEmbedding<head_dim(C)>& angles) const {
    return feed_forward(x, self_attn.forward(input_layernorm.forward(x), rows, angles));
  }

  /// x [1, hidden], the row of one new position -> the same.
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, const DecodePlace& place, dim layer,
                                   const RotaryEmbedding<head_dim(C)>& rotary) const {
    return feed_forward(x, self_attn.forward(input_layernorm.forward(x), place, layer, rotary));
  }

  /// `visit(name, projection)` for every linear layer of the block.
  template <class Visitor>
  void for_each_projection(const std::string& prefix, Visitor&& visit) {
    self_attn.for_each_projection(scoped(prefix, "self_attn"), visit);
    mlp.for_each_projection(scoped(prefix, "mlp"), visit);
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    for_each_projection(prefix,
                        [&](const std::string& name, auto& projection) { projection.for_each_parameter(name, visit); });
    input_layernorm.for_each_parameter(scoped(prefix, "input_layernorm"), visit);
    post_attention_layernorm.for_each_parameter(scoped(prefix, "post_attention_layernorm"), visit);
  }

 private:
  [[nodiscard]] at::Tensor feed_forward(const at::Tensor& x, const at::Tensor& attention) const {
    const auto [attended, normalised] = post_attention_layernorm.forward(x, attention);
    return mlp.forward_onto(attended, normalised);
  }
};

/// LLaMA (Touvron et al. 2023) with grouped-query attention and optional low-rank adapters.
/// Batches are packed: the rows of all sequences stand one behind the other, without padding.
template <LlamaConfig C, LoraConfig L = no_lora>
struct Llama {
  static_assert(C.vocab > 0 && C.hidden > 0 && C.mlp > 0 && C.layers > 0, "Llama: every size must be positive");
  static_assert(C.heads > 0 && C.hidden % C.heads == 0, "Llama: heads must divide hidden");
  static_assert(C.kv_heads > 0 && C.heads % C.kv_heads == 0, "Llama: kv_heads must divide heads");
  static_assert(C.heads == 0 || head_dim(C) % 2 == 0, "Llama: rotary embedding needs an even head_dim");
  static_assert(L.rank >= 0, "Llama: LoRA rank must not be negative");
  static_assert(C.context > 0, "Llama: context must be positive");

  static constexpr LlamaConfig config = C;
  static constexpr LoraConfig lora = L;
  static constexpr dim out_features = C.hidden;
  static constexpr dim parameter_count = parameters(C);
  static constexpr bool runs_drafts = true;  ///< `forward` knows `Segment::drafts`

  at::Tensor embed_tokens;  // [vocab, hidden]
  std::vector<LlamaBlock<C, L>> layers = std::vector<LlamaBlock<C, L>>(C.layers);
  RmsNorm<C.hidden> norm{.eps = C.eps, .weight = {}};
  Linear<C.hidden, C.vocab, Bias::no> lm_head;
  RotaryEmbedding<head_dim(C)> rotary;  ///< filled by `prepare`

  /// Builds what depends on dtype and device of the loaded weights. Call once after loading, before `forward`.
  void prepare() { rotary = RotaryEmbedding<head_dim(C)>::make(C.context, C.rope_theta, embed_tokens.options()); }

  /// An empty cache for one sequence.
  [[nodiscard]] static KvCache make_cache() { return KvCache(C.layers, C.context); }

  /// ids [T], int64 -> [T, hidden].
  [[nodiscard]] at::Tensor embed(const at::Tensor& ids) const { return aten::embedding(embed_tokens, ids); }

  /// Runs packed rows through all blocks and the final norm, and advances the caches by all rows but drafts.
  /// @param x         [rows, hidden], the rows of all segments in order
  /// @param segments  their row counts sum to `rows`; each has a cache of its own, or none
  /// @return          [rows, hidden], the last hidden states
  /// @throws InputError when a sequence would outgrow the context; the caches then hold what they held before
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, std::span<const Segment> segments) const {
    require_room(segments);
    at::Tensor hidden = x;
    for (std::size_t layer = 0; layer < layers.size(); ++layer)
      hidden = layers[layer].forward(hidden, segments, static_cast<dim>(layer), rotary);
    hidden = norm.forward(hidden);
    for (const Segment& segment : segments)
      if (segment.cache != nullptr) segment.cache->advance(segment.rows - segment.drafted());
    return hidden;
  }

  /// Runs sequences that share their beginnings through all blocks and the final norm; differentiable.
  /// @param x     [items * T, hidden]
  /// @param run   `run(block, x)` gives what `block(x)` gives; how it gets there, say by computing the block again in
  /// the
  ///              backward pass, is its own affair, as long as the model lives
  /// @throws InputError when a sequence exceeds the context
  /// @return      [items * T, hidden], the last hidden states; those of padding mean nothing
  template <class Run>
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, const BranchedRows& rows, const Run& run) const {
    make_cache().require_room(rows.longest);
    const RotaryEmbedding<head_dim(C)> angles = rotary.at_positions(rows.positions);
    at::Tensor hidden = x;
    for (const LlamaBlock<C, L>& block : layers)
      hidden = run([&block, rows, angles](const at::Tensor& h) { return block.forward(h, rows, angles); }, hidden);
    return norm.forward(hidden);
  }

  /// Runs one new position of a sequence through all blocks and the final norm; its keys and values are stored behind
  /// what the cache holds, and `advance` is left to the caller. The position is not read on the host, no shape depends
  /// on it and nothing waits, so that the run can be recorded once for all positions (`gpu::RecordedWork`).
  /// @param x  [1, hidden]
  /// @return   [1, hidden], the last hidden state
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, const DecodePlace& place) const {
    at::Tensor hidden = x;
    for (std::size_t layer = 0; layer < layers.size(); ++layer)
      hidden = layers[layer].forward(hidden, place, static_cast<dim>(layer), rotary);
    return norm.forward(hidden);
  }

  /// hidden [rows, hidden] -> logits [rows, vocab].
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden) const { return lm_head.forward(hidden); }

  template <class Visitor>
  void for_each_projection(Visitor&& visit) {
    for (std::size_t i = 0; i < layers.size(); ++i)
      layers[i].for_each_projection("model.layers." + std::to_string(i), visit);
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    visit(scoped(prefix, "model.embed_tokens.weight"), embed_tokens, Shape{C.vocab, C.hidden});
    for (std::size_t i = 0; i < layers.size(); ++i)
      layers[i].for_each_parameter(scoped(prefix, "model.layers." + std::to_string(i)), visit);
    norm.for_each_parameter(scoped(prefix, "model.norm"), visit);
    lm_head.for_each_parameter(scoped(prefix, "lm_head"), visit);
  }

  /// The tensors of the adapters, under the names of their projections.
  template <class Visitor>
  void for_each_adapter(Visitor&& visit) {
    for_each_projection([&](const std::string& name, auto& projection) { projection.for_each_adapter(name, visit); });
  }

  /// Folds loaded adapters into the weights.
  void merge_adapters() {
    for_each_projection([](const std::string&, auto& projection) { projection.merge_adapter(); });
  }

 private:
  static void require_room(std::span<const Segment> segments) {
    const KvCache none = make_cache();
    for (const Segment& segment : segments)
      (segment.cache == nullptr ? none : *segment.cache).require_room(segment.rows);
  }
};

}  // namespace lisa
