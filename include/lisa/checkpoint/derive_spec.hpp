#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/canonical_name.hpp"
#include "lisa/checkpoint/config_json.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"
#include "lisa/config/clip.hpp"
#include "lisa/config/llama.hpp"
#include "lisa/config/lora.hpp"
#include "lisa/config/mlp.hpp"
#include "lisa/config/sam.hpp"

namespace lisa {

/// The numbers of a LISA checkpoint of any size: what a specification holds.
struct DerivedSpec {
  std::string source{};  ///< folder that the numbers come from
  LlamaConfig llm{};
  LoraConfig lora{};
  ClipConfig vision{};
  SamConfig sam{};
  MlpConfig seg{};
  MlpConfig visual_projector{};
  bool adapter_found = false;        ///< `lora` was read from the files; otherwise it is LISA's recipe for training
  bool decoder_heads_given = false;  ///< `sam.decoder_heads` was given; otherwise it is SAM's own number
};

/// What `derive_spec` looks at. Only names and shapes of tensors matter, never their elements.
struct SpecSources {
  std::string folder;                              ///< for messages
  CheckpointConfig config;                         ///< the folder's config.json
  std::span<const StoredTensor> tensors;           ///< of the folder, and of its adapter folder where there is one
  ClipConfig vision;                               ///< the CLIP folder's config.json
  std::span<const StoredTensor> vision_tensors{};  ///< of the CLIP folder; checked when not empty
  std::optional<LoraConfig> adapter{};             ///< adapter_config.json, where there is one
  std::optional<dim> decoder_heads{};              ///< attention heads of SAM's mask decoder, which no shape tells
};

namespace detail {

/// Shapes by name, and the defects found while reading them.
class ShapeTable {
 public:
  /// Extent of `shape()` that may be anything.
  static constexpr dim any = -1;

  explicit ShapeTable(std::span<const StoredTensor> tensors) {
    for (const StoredTensor& tensor : tensors) shapes_.emplace(canonical_name(tensor.name), tensor.shape);
  }

  [[nodiscard]] bool has(const std::string& name) const { return shapes_.contains(name); }

  /// Shape of a tensor that must exist and match `expected` where that is not `any`; all extents are then >= 1.
  /// Otherwise nothing, and a defect.
  std::optional<std::vector<dim>> shape(const std::string& name, const std::vector<dim>& expected) {
    const auto found = shapes_.find(name);
    if (found == shapes_.end()) {
      defects.add(printable(name) + ": missing, expected " + pattern(expected));
      return std::nullopt;
    }
    bool fits = found->second.size() == expected.size();
    for (std::size_t i = 0; fits && i < expected.size(); ++i)
      fits = found->second[i] >= 1 && found->second[i] <= largest_extent &&
             (expected[i] == any || expected[i] == found->second[i]);
    if (fits) return found->second;
    defects.add(printable(name) + ": " + found_expected(shape_text(found->second), pattern(expected)));
    return std::nullopt;
  }

  /// One extent of a tensor as `shape`; nothing where that fails.
  std::optional<dim> extent(const std::string& name, const std::vector<dim>& expected, std::size_t axis) {
    const auto found = shape(name, expected);
    return found ? std::optional(found->at(axis)) : std::nullopt;
  }

  /// Number n of the consecutive indices 0 .. n-1 that occur in names `prefix` + index + "."; a hole is a defect.
  dim count(const std::string& prefix) {
    std::set<dim> indices;
    for (const auto& [name, shape] : shapes_) {
      if (!name.starts_with(prefix)) continue;
      dim index = -1;
      const char* const end = name.data() + name.size();
      const auto [rest, error] = std::from_chars(name.data() + prefix.size(), end, index);
      if (error == std::errc() && rest != end && *rest == '.' && index >= 0) indices.insert(index);
    }
    if (indices.empty()) {
      defects.add(printable(prefix) + "0: missing");
      return 0;
    }
    if (const dim n = static_cast<dim>(indices.size()); *indices.rbegin() != n - 1) {
      dim hole = 0;
      while (indices.contains(hole)) ++hole;
      defects.add(printable(prefix) + std::to_string(hole) + ": missing, while " + std::to_string(*indices.rbegin()) +
                  " exists");
    }
    return static_cast<dim>(indices.size());
  }

  Defects defects;

 private:
  static constexpr dim largest_extent = dim{1} << 31;

  static std::string pattern(const std::vector<dim>& expected) {
    std::string text = "[";
    for (std::size_t i = 0; i < expected.size(); ++i)
      text += (i == 0 ? "" : ", ") + (expected[i] == any ? std::string("any") : std::to_string(expected[i]));
    return text + "]";
  }

  std::unordered_map<std::string, std::vector<dim>> shapes_;
};

inline constexpr dim any = ShapeTable::any;

inline void derive_llama(ShapeTable& t, LlamaConfig& c) {
  c.vocab = t.extent("model.embed_tokens.weight", {any, c.hidden}, 0).value_or(c.vocab);
  t.shape("lm_head.weight", {c.vocab, c.hidden});
  t.shape("model.norm.weight", {c.hidden});
  const std::string blocks = "model.layers.";
  const dim found = t.count(blocks);
  if (found != 0 && found != c.layers)
    t.defects.add(blocks + "*: " +
                  found_expected(std::to_string(found) + " blocks", std::to_string(c.layers) + " (num_hidden_layers)"));
  if (const auto rows = t.extent(blocks + "0.self_attn.k_proj.weight", {any, c.hidden}, 0)) {
    const dim kv_heads = *rows / head_dim(c);
    if (*rows != kv_dim(c)) {
      t.defects.add(
          blocks + "0.self_attn.k_proj.weight: " +
          found_expected(std::to_string(*rows) + " rows (" + std::to_string(kv_heads) + " heads of " +
                             std::to_string(head_dim(c)) + ")",
                         std::to_string(kv_dim(c)) + " (num_key_value_heads " + std::to_string(c.kv_heads) + ")"));
      return;  // one defect says it; every block repeats it
    }
  }
  for (dim block = 0; block < std::min(found, c.layers); ++block) {
    const std::string name = blocks + std::to_string(block) + ".";
    t.shape(name + "self_attn.q_proj.weight", {c.hidden, c.hidden});
    t.shape(name + "self_attn.k_proj.weight", {kv_dim(c), c.hidden});
    t.shape(name + "self_attn.v_proj.weight", {kv_dim(c), c.hidden});
    t.shape(name + "self_attn.o_proj.weight", {c.hidden, c.hidden});
    t.shape(name + "mlp.gate_proj.weight", {c.mlp, c.hidden});
    t.shape(name + "mlp.up_proj.weight", {c.mlp, c.hidden});
    t.shape(name + "mlp.down_proj.weight", {c.hidden, c.mlp});
    t.shape(name + "input_layernorm.weight", {c.hidden});
    t.shape(name + "post_attention_layernorm.weight", {c.hidden});
  }
}

/// Rank and adapted projections from unmerged `lora_A`; nothing where the files hold none.
inline std::optional<LoraConfig> derive_lora(ShapeTable& t, const std::optional<LoraConfig>& adapter) {
  LoraConfig c = adapter.value_or(LoraConfig{.q = false, .v = false});
  bool found = false;
  const auto look = [&](const std::string& projection, bool& adapted) {
    const std::string name = "model.layers.0." + projection + ".lora_A.weight";
    adapted = t.has(name);
    if (!adapted) return;
    const auto rank = t.extent(name, {any, any}, 0);
    if (!rank) return;
    if ((found || adapter) && *rank != c.rank)
      t.defects.add(name + ": " + found_expected("rank " + std::to_string(*rank), std::to_string(c.rank)));
    c.rank = *rank;
    found = true;
  };
  look("self_attn.q_proj", c.q);
  look("self_attn.k_proj", c.k);
  look("self_attn.v_proj", c.v);
  look("self_attn.o_proj", c.o);
  look("mlp.gate_proj", c.gate);
  look("mlp.up_proj", c.up);
  look("mlp.down_proj", c.down);
  if (adapter && !found)
    t.defects.add("model.layers.0.*.lora_A.weight: missing, expected the adapter of adapter_config.json");
  return found ? std::optional(c) : std::nullopt;
}

/// A perceptron whose linear layers are named prefix.0, prefix.2, prefix.4, ... (activations in between).
inline std::optional<MlpConfig> derive_mlp(ShapeTable& t, const std::string& prefix, dim in, dim out) {
  dim layers = 0;
  while (t.has(prefix + std::to_string(2 * layers) + ".weight")) ++layers;
  if (layers == 0) {
    t.defects.add(prefix + "0.weight: missing");
    return std::nullopt;
  }
  const auto hidden = layers == 1 ? std::optional(out) : t.extent(prefix + "0.weight", {any, in}, 0);
  if (!hidden) return std::nullopt;
  for (dim layer = 0; layer < layers; ++layer) {
    const std::string name = prefix + std::to_string(2 * layer);
    const dim rows = layer + 1 == layers ? out : *hidden;
    t.shape(name + ".weight", {rows, layer == 0 ? in : *hidden});
    t.shape(name + ".bias", {rows});
  }
  return MlpConfig{.hidden = *hidden, .layers = layers};
}

/// LLaVA's projector by its names: one linear layer is `mm_projector.weight`, mlpNx_gelu are `mm_projector.{0,2,..}`.
/// config.json's mm_projector_type is not asked: LISA derivatives carry it although their projector is linear.
inline std::optional<MlpConfig> derive_visual_projector(ShapeTable& t, dim in, dim out) {
  const std::string name = "model.mm_projector.";
  if (!t.has(name + "weight")) return derive_mlp(t, name, in, out);
  t.shape(name + "weight", {out, in});
  t.shape(name + "bias", {out});
  return MlpConfig{.hidden = out, .layers = 1};
}

/// Window and global blocks from the relative-position tables, which have 2 * side - 1 rows of head_dim.
inline void derive_sam_attention(ShapeTable& t, const std::string& blocks, SamConfig& c) {
  std::optional<dim> window, dim_of_head;
  c.global_blocks = {};
  for (dim block = 0; block < c.layers; ++block) {
    const std::string name = blocks + std::to_string(block) + ".attn.rel_pos_";
    const auto table = t.shape(name + "h", {any, dim_of_head.value_or(any)});
    if (!table) continue;
    t.shape(name + "w", *table);
    dim_of_head = table->at(1);
    const dim side = (table->at(0) + 1) / 2;
    if (table->at(0) % 2 == 0) {
      t.defects.add(name + "h: " + found_expected(std::to_string(table->at(0)) + " rows", "an odd number"));
    } else if (side == grid(c)) {
      c.global_blocks.bits |= std::uint64_t{1} << block;
    } else if (window && *window != side) {
      t.defects.add(name + "h: " +
                    found_expected("a window of " + std::to_string(side),
                                   std::to_string(*window) + " as in the blocks before or the whole grid of " +
                                       std::to_string(grid(c))));
    } else {
      window = side;
    }
  }
  c.window = window.value_or(0);
  if (!window) c.global_blocks = {};
  if (!dim_of_head) return;
  c.heads = c.hidden / *dim_of_head;
  if (c.hidden % *dim_of_head != 0)
    t.defects.add(
        blocks + "0.attn.rel_pos_h: " +
        found_expected("head size " + std::to_string(*dim_of_head), "a divisor of " + std::to_string(c.hidden)));
}

inline void derive_sam_encoder(ShapeTable& t, const std::string& name, SamConfig& c) {
  const auto patch = t.shape(name + "patch_embed.proj.weight", {any, 3, any, any});
  const auto positions = t.shape(name + "pos_embed", {1, any, any, patch ? patch->at(0) : any});
  if (!patch || !positions) return;
  c.hidden = patch->at(0);
  c.patch = patch->at(2);
  c.image = c.patch * positions->at(1);
  if (patch->at(3) != c.patch || positions->at(2) != positions->at(1))
    t.defects.add(name + "pos_embed: " +
                  found_expected(shape_text(*positions) + " with patches " + shape_text(*patch),
                                 "a square grid of square patches"));
  const std::string blocks = name + "blocks.";
  c.layers = t.count(blocks);
  if (c.layers > 64) {
    t.defects.add(blocks + "*: " + found_expected(std::to_string(c.layers) + " blocks", "at most 64"));
    return;
  }
  c.mlp = t.extent(blocks + "0.mlp.lin1.weight", {any, c.hidden}, 0).value_or(c.mlp);
  for (dim block = 0; block < c.layers; ++block) {
    t.shape(blocks + std::to_string(block) + ".attn.qkv.weight", {3 * c.hidden, c.hidden});
    t.shape(blocks + std::to_string(block) + ".mlp.lin1.weight", {c.mlp, c.hidden});
  }
  derive_sam_attention(t, blocks, c);
  c.prompt_dim = t.extent(name + "neck.0.weight", {any, c.hidden, 1, 1}, 0).value_or(c.prompt_dim);
}

inline void derive_sam_decoder(ShapeTable& t, const std::string& name, SamConfig& c) {
  const std::string layers = name + "transformer.layers.";
  c.decoder_layers = t.count(layers);
  c.decoder_mlp = t.extent(layers + "0.mlp.lin1.weight", {any, c.prompt_dim}, 0).value_or(c.decoder_mlp);
  t.shape(layers + "0.self_attn.q_proj.weight", {c.prompt_dim, c.prompt_dim});
  const std::string cross = layers + "0.cross_attn_token_to_image.q_proj.weight";
  if (const auto inner = t.extent(cross, {any, c.prompt_dim}, 0)) {
    c.attention_downsample = c.prompt_dim / *inner;
    if (c.prompt_dim % *inner != 0)
      t.defects.add(cross + ": " +
                    found_expected(std::to_string(*inner) + " rows", "a divisor of " + std::to_string(c.prompt_dim)));
    if (*inner % c.decoder_heads != 0)
      t.defects.add(cross + ": " +
                    found_expected(std::to_string(*inner) + " rows", "a multiple of the mask decoder's " +
                                                                         std::to_string(c.decoder_heads) +
                                                                         " heads (an option gives another number)"));
  }
  const auto mask_token_rows = t.extent(name + "mask_tokens.weight", {any, c.prompt_dim}, 0);
  if (mask_token_rows) c.multimask_outputs = *mask_token_rows - 1;
  const std::string iou = name + "iou_prediction_head.layers.";
  c.iou_head_layers = t.count(iou);
  if (c.iou_head_layers > 1)
    c.iou_head_hidden = t.extent(iou + "0.weight", {any, c.prompt_dim}, 0).value_or(c.iou_head_hidden);
}

inline void derive_sam(ShapeTable& t, SamConfig& c) {
  const std::string sam = "model.visual_model.";
  derive_sam_encoder(t, sam + "image_encoder.", c);
  t.shape(sam + "prompt_encoder.no_mask_embed.weight", {1, c.prompt_dim});
  t.shape(sam + "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", {2, c.prompt_dim / 2});
  c.mask_in_channels =
      t.extent(sam + "prompt_encoder.mask_downscaling.3.weight", {any, any, 2, 2}, 0).value_or(c.mask_in_channels);
  derive_sam_decoder(t, sam + "mask_decoder.", c);
}

inline void check_clip(ShapeTable& t, const ClipConfig& c) {
  const std::string embeddings = "vision_model.embeddings.";
  t.shape(embeddings + "patch_embedding.weight", {c.hidden, 3, c.patch, c.patch});
  t.shape(embeddings + "position_embedding.weight", {grid(c) * grid(c) + 1, c.hidden});
  const std::string blocks = "vision_model.encoder.layers.";
  const dim found = t.count(blocks);
  if (found != 0 && found != c.layers)
    t.defects.add(blocks + "*: " + found_expected(std::to_string(found) + " blocks", std::to_string(c.layers)));
  t.shape(blocks + "0.mlp.fc1.weight", {c.mlp, c.hidden});
}

/// `value` as a C++ literal that reads back to the same double.
inline std::string literal(double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}

/// Writes "{.a = 1, .b = 2}" member by member.
class Initializer {
 public:
  Initializer& add(std::string_view member, const std::string& value) {
    text_ += (text_.empty() ? "." : ", .") + std::string(member) + " = " + value;
    return *this;
  }
  Initializer& add(std::string_view member, dim value) { return add(member, std::to_string(value)); }
  Initializer& add(std::string_view member, double value) { return add(member, literal(value)); }
  Initializer& add(std::string_view member, bool value) { return add(member, std::string(value ? "true" : "false")); }
  [[nodiscard]] std::string text() const { return "{" + text_ + "}"; }

 private:
  std::string text_;
};

inline std::string text_of(const LlamaConfig& c) {
  return Initializer()
      .add("vocab", c.vocab)
      .add("hidden", c.hidden)
      .add("mlp", c.mlp)
      .add("layers", c.layers)
      .add("heads", c.heads)
      .add("kv_heads", c.kv_heads)
      .add("context", c.context)
      .add("eps", c.eps)
      .add("rope_theta", c.rope_theta)
      .text();
}

inline std::string text_of(const LoraConfig& c) {
  return Initializer()
      .add("rank", c.rank)
      .add("alpha", c.alpha)
      .add("dropout", c.dropout)
      .add("q", c.q)
      .add("k", c.k)
      .add("v", c.v)
      .add("o", c.o)
      .add("gate", c.gate)
      .add("up", c.up)
      .add("down", c.down)
      .text();
}

inline std::string text_of(const ClipConfig& c) {
  return Initializer()
      .add("image", c.image)
      .add("patch", c.patch)
      .add("hidden", c.hidden)
      .add("mlp", c.mlp)
      .add("layers", c.layers)
      .add("heads", c.heads)
      .add("eps", c.eps)
      .add("feature_layer", c.feature_layer)
      .add("select", std::string("lisa::FeatureSelect::") + (c.select == FeatureSelect::patch ? "patch" : "cls_patch"))
      .text();
}

inline std::string text_of(const SamConfig& c) {
  std::string global_blocks;
  for (dim block = 0; block < 64; ++block)
    if (c.global_blocks.contains(block)) global_blocks += (global_blocks.empty() ? "" : ", ") + std::to_string(block);
  return Initializer()
      .add("image", c.image)
      .add("patch", c.patch)
      .add("hidden", c.hidden)
      .add("mlp", c.mlp)
      .add("layers", c.layers)
      .add("heads", c.heads)
      .add("window", c.window)
      .add("global_blocks", "{" + global_blocks + "}")
      .add("prompt_dim", c.prompt_dim)
      .add("decoder_layers", c.decoder_layers)
      .add("decoder_heads", c.decoder_heads)
      .add("decoder_mlp", c.decoder_mlp)
      .add("attention_downsample", c.attention_downsample)
      .add("multimask_outputs", c.multimask_outputs)
      .add("iou_head_layers", c.iou_head_layers)
      .add("iou_head_hidden", c.iou_head_hidden)
      .add("mask_in_channels", c.mask_in_channels)
      .text();
}

inline std::string text_of(const MlpConfig& c) {
  return Initializer().add("hidden", c.hidden).add("layers", c.layers).text();
}

inline bool is_identifier(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !text.empty() && letter(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return letter(c) || digit(c); });
}

/// Last part of a path, reduced to characters that need no escape anywhere.
inline std::string plain_file_name(const std::string& folder) {
  std::filesystem::path path(folder);
  if (!path.has_filename()) path = path.parent_path();
  std::string name = path.filename().string();
  for (char& c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    if (!plain) c = '_';
  }
  return name.empty() ? "lisa-checkpoint" : name;
}

}  // namespace detail

/// Numbers of the model that a checkpoint folder holds, from its configs and the names and shapes of its tensors. SAM's
/// sizes stand in no config: its grid comes from pos_embed, windows, global blocks and heads from the relative-position
/// tables, the mask decoder from its own tensors. Heads of the mask decoder show in no shape: `decoder_heads` where
/// given, SAM's 8 otherwise.
/// @throws MismatchError naming every missing tensor and every shape that contradicts another or the configs
[[nodiscard]] inline DerivedSpec derive_spec(const SpecSources& from) {
  DerivedSpec spec{.source = from.folder, .llm = from.config.llm, .vision = from.vision};
  spec.vision.feature_layer = from.config.feature_layer;
  spec.vision.select = from.config.select;
  spec.decoder_heads_given = from.decoder_heads.has_value();
  spec.sam.decoder_heads = from.decoder_heads.value_or(SamConfig{}.decoder_heads);
  if (spec.sam.decoder_heads < 1)
    throw InputError("mask decoder heads", found_expected(std::to_string(spec.sam.decoder_heads), "at least 1"));

  detail::ShapeTable table(from.tensors);
  detail::derive_llama(table, spec.llm);
  if (const auto lora = detail::derive_lora(table, from.adapter)) {
    spec.lora = *lora;
    spec.adapter_found = true;
  }
  detail::derive_sam(table, spec.sam);
  spec.seg =
      detail::derive_mlp(table, "model.text_hidden_fcs.0.", spec.llm.hidden, spec.sam.prompt_dim).value_or(MlpConfig{});
  spec.visual_projector =
      detail::derive_visual_projector(table, spec.vision.hidden, spec.llm.hidden).value_or(MlpConfig{});
  const dim blocks = blocks_run(spec.vision);
  if (blocks < 0 || blocks > spec.vision.layers)
    table.defects.add("mm_vision_select_layer: " +
                      found_expected(std::to_string(spec.vision.feature_layer),
                                     "a hidden state of " + std::to_string(spec.vision.layers) + " blocks"));
  if (!table.defects.empty()) throw MismatchError(printable(from.folder), "tensors", table.defects.report("defects"));

  if (!from.vision_tensors.empty()) {
    detail::ShapeTable vision(from.vision_tensors);
    detail::check_clip(vision, spec.vision);
    if (!vision.defects.empty()) throw MismatchError("vision tower", "tensors", vision.defects.report("defects"));
  }
  return spec;
}

/// A C++ header with the specification, ready for `lisa_add_program`. @param struct_name name of the struct
/// @throws InputError when that is no C++ identifier
[[nodiscard]] inline std::string spec_header(const DerivedSpec& spec, std::string_view struct_name = "MySpec") {
  if (!detail::is_identifier(struct_name))
    throw InputError("struct name", found_expected(lisa::quoted(struct_name), "a C++ identifier"));
  const auto member = [](std::string_view type, std::string_view name, const std::string& value) {
    return "  static constexpr " + std::string(type) + " " + std::string(name) + value + ";\n";
  };
  std::string text = "// Derived from " + lisa::quoted(spec.source, 1024) + " by `lisa info --spec`.\n#pragma once\n\n";
  text += "#include <string_view>\n\n#include <lisa/config/presets.hpp>\n\n";
  text += "struct " + std::string(struct_name) + " : lisa::Lisa7B {\n";
  text += member("std::string_view", "name", " = \"" + detail::plain_file_name(spec.source) + "\"");
  text += member("lisa::LlamaConfig", "llm", detail::text_of(spec.llm));
  if (!spec.adapter_found) text += "  // The files hold no adapter: LISA's recipe, which only training uses.\n";
  text += member("lisa::LoraConfig", "lora", detail::text_of(spec.lora));
  text += member("lisa::ClipConfig", "vision", detail::text_of(spec.vision));
  if (!spec.decoder_heads_given)
    text += "  // No shape tells the mask decoder's heads: decoder_heads is SAM's default.\n";
  text += member("lisa::SamConfig", "sam", detail::text_of(spec.sam));
  text += member("lisa::MlpConfig", "seg", detail::text_of(spec.seg));
  text += "  // 1 layer: linear; 2 layers: mlp2x_gelu.\n";
  text += member("lisa::MlpConfig", "visual_projector", detail::text_of(spec.visual_projector));
  return text + "};\n";
}

}  // namespace lisa
