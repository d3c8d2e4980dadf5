#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>

#include "lisa/aten/operators.hpp"
#include "lisa/config/clip.hpp"
#include "lisa/nn/expect_shape.hpp"
#include "lisa/nn/layer_norm.hpp"
#include "lisa/nn/linear.hpp"
#include "lisa/nn/parameter.hpp"

namespace lisa {

/// Multi-head self-attention of CLIP: four projections with bias, no mask.
template <ClipConfig C>
struct ClipAttention {
  Linear<C.hidden, C.hidden> q_proj, k_proj, v_proj, out_proj;

  /// x [B, T, hidden] -> [B, T, hidden].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const {
    constexpr dim head_dim = C.hidden / C.heads;
    const auto heads = [&](const at::Tensor& t) {  // [B, T, hidden] -> [B, heads, T, head_dim]
      return t.view({t.size(0), t.size(1), C.heads, head_dim}).transpose(1, 2);
    };
    // The scale is applied to q, before the product, as in the original: in bf16 this decides the rounding.
    const at::Tensor q = heads(q_proj.forward(x).mul(1.0 / std::sqrt(static_cast<double>(head_dim))));
    const at::Tensor k = heads(k_proj.forward(x));
    const at::Tensor v = heads(v_proj.forward(x));
    const at::Tensor probabilities = q.matmul(k.transpose(-2, -1)).softmax(-1);  // [B, heads, T, T]
    return out_proj.forward(probabilities.matmul(v).transpose(1, 2).reshape(x.sizes()));
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    q_proj.for_each_parameter(scoped(prefix, "q_proj"), visit);
    k_proj.for_each_parameter(scoped(prefix, "k_proj"), visit);
    v_proj.for_each_parameter(scoped(prefix, "v_proj"), visit);
    out_proj.for_each_parameter(scoped(prefix, "out_proj"), visit);
  }
};

/// Pre-norm transformer block of CLIP with QuickGELU, x * sigmoid(1.702 x).
template <ClipConfig C>
struct ClipBlock {
  LayerNorm<C.hidden> layer_norm1{.eps = C.eps}, layer_norm2{.eps = C.eps};
  ClipAttention<C> self_attn;
  Linear<C.hidden, C.mlp> fc1;
  Linear<C.mlp, C.hidden> fc2;

  /// x [B, T, hidden] -> [B, T, hidden].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const {
    const at::Tensor attended = x.add(self_attn.forward(layer_norm1.forward(x)));
    const at::Tensor inner = fc1.forward(layer_norm2.forward(attended));
    return attended.add(fc2.forward(inner.mul(inner.mul(1.702).sigmoid())));
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    self_attn.for_each_parameter(scoped(prefix, "self_attn"), visit);
    layer_norm1.for_each_parameter(scoped(prefix, "layer_norm1"), visit);
    fc1.for_each_parameter(scoped(prefix, "mlp.fc1"), visit);
    fc2.for_each_parameter(scoped(prefix, "mlp.fc2"), visit);
    layer_norm2.for_each_parameter(scoped(prefix, "layer_norm2"), visit);
  }
};

/// Vision transformer of CLIP (Radford et al. 2021) up to the hidden state that LLaVA reads; later blocks and the final
/// norm are neither held nor run. Parameter names are those of Hugging Face's CLIPVisionModel.
template <ClipConfig C>
struct ClipTower {
  static_assert(C.image > 0 && C.patch > 0 && C.image % C.patch == 0, "ClipTower: patch must divide image");
  static_assert(C.hidden > 0 && C.heads > 0 && C.hidden % C.heads == 0, "ClipTower: heads must divide hidden");
  static_assert(C.mlp > 0, "ClipTower: mlp must be positive");
  static_assert(blocks_run(C) >= 0 && blocks_run(C) <= C.layers,
                "ClipTower: feature_layer must lie within the hidden states, -(layers + 1) to layers");

  static constexpr dim out_features = C.hidden;
  static constexpr dim tokens = visual_tokens(C);
  static constexpr dim image_side = C.image;

  at::Tensor class_embedding;     // [hidden]
  at::Tensor patch_embedding;     // [hidden, 3, patch, patch]
  at::Tensor position_embedding;  // [1 + grid^2, hidden]
  LayerNorm<C.hidden> pre_layrnorm{.eps = C.eps};
  std::array<ClipBlock<C>, static_cast<std::size_t>(blocks_run(C))> layers;

  /// Features of preprocessed images.
  /// @param pixel_values [B, 3, image, image], normalised, in the tower's dtype
  /// @return [B, tokens, hidden]: the rows chosen by `C.select` of hidden state `C.feature_layer`
  /// @throws InputError on another shape
  [[nodiscard]] at::Tensor forward(const at::Tensor& pixel_values) const {
    expect_shape("pixel_values", pixel_values, {any_extent, 3, C.image, C.image});
    at::Tensor x = pre_layrnorm.forward(embed(pixel_values));
    for (const ClipBlock<C>& layer : layers) x = layer.forward(x);
    return C.select == FeatureSelect::patch ? x.narrow(1, 1, tokens) : x;
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    const std::string model = scoped(prefix, "vision_model");
    visit(model + ".embeddings.class_embedding", class_embedding, Shape{C.hidden});
    visit(model + ".embeddings.patch_embedding.weight", patch_embedding, Shape{C.hidden, 3, C.patch, C.patch});
    visit(model + ".embeddings.position_embedding.weight", position_embedding, Shape{grid(C) * grid(C) + 1, C.hidden});
    pre_layrnorm.for_each_parameter(model + ".pre_layrnorm", visit);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      layers[i].for_each_parameter(model + ".encoder.layers." + std::to_string(i), visit);
    }
  }

  /// Whether a CLIP checkpoint may hold a tensor of this name (without prefix) that the tower does not need: the text
  /// model, the projections into the joint space, index buffers, the final norm and blocks beyond the feature layer.
  [[nodiscard]] static bool is_unused(std::string_view name) {
    for (const std::string_view part :
         {"text_model.", "visual_projection.", "text_projection.", "vision_model.post_layernorm."}) {
      if (name.starts_with(part)) return true;
    }
    if (name == "logit_scale" || name == "vision_model.embeddings.position_ids") return true;
    constexpr std::string_view layer = "vision_model.encoder.layers.";
    if (!name.starts_with(layer)) return false;
    name.remove_prefix(layer.size());
    dim index = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
    return error == std::errc{} && end != name.data() + name.size() && *end == '.' && index >= blocks_run(C) &&
           index < C.layers;
  }

 private:
  /// [B, 3, image, image] -> [B, 1 + grid^2, hidden]: class token, then patches row by row, positions added.
  [[nodiscard]] at::Tensor embed(const at::Tensor& pixel_values) const {
    const at::Tensor patches =
        aten::conv2d(pixel_values, patch_embedding, {}, /*stride=*/C.patch).flatten(2).transpose(1, 2);
    const at::Tensor class_token = class_embedding.expand({pixel_values.size(0), 1, C.hidden});
    return aten::cat({class_token, patches}, 1).add(position_embedding);
  }
};

}  // namespace lisa
