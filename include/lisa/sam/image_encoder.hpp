#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <string>

#include "lisa/aten/operators.hpp"
#include "lisa/config/sam.hpp"
#include "lisa/nn/expect_shape.hpp"
#include "lisa/nn/in_place.hpp"
#include "lisa/nn/layer_norm.hpp"
#include "lisa/nn/layer_norm_2d.hpp"
#include "lisa/nn/linear.hpp"
#include "lisa/nn/linear_operator.hpp"
#include "lisa/nn/parameter.hpp"
#include "lisa/sam/encoding.hpp"
#include "lisa/sam/fused_relative_attention.hpp"
#include "lisa/sam/relative_attention.hpp"
#include "lisa/sam/relative_position.hpp"
#include "lisa/sam/window.hpp"

namespace lisa {

/// Self-attention of one image encoder block, inside windows or over the whole grid.
///
/// The original pads the normalised tokens with zeros to whole windows and attends without a mask, so a padding token
/// is a key and a value, equal to the bias of the projection. Here padding is never projected: its keys and values are
/// filled in from the bias, its queries and outputs, which the original discards, are not computed.
template <SamConfig C>
struct SamImageAttention {
  Linear<C.hidden, 3 * C.hidden> qkv;
  Linear<C.hidden, C.hidden> proj;
  at::Tensor rel_pos_h, rel_pos_w;  // [2 * side - 1, head_dim]

  /// x [B, g, g, hidden] -> [B, g, g, hidden]; `side` is the attention's side in tokens.
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, dim side) const {
    const at::Tensor projected = qkv.forward(x);  // [B, g, g, 3 * hidden]
    const auto fused = fused_relative_attention<head_dim(C)>(projected, qkv.bias, rel_pos_h, rel_pos_w, side);
    return proj.forward(fused ? *fused : attend_by_windows(projected, side));
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, dim side, Visitor&& visit) {
    visit(scoped(prefix, "rel_pos_h"), rel_pos_h, Shape{2 * side - 1, head_dim(C)});
    visit(scoped(prefix, "rel_pos_w"), rel_pos_w, Shape{2 * side - 1, head_dim(C)});
    qkv.for_each_parameter(scoped(prefix, "qkv"), visit);
    proj.for_each_parameter(scoped(prefix, "proj"), visit);
  }

 private:
  /// The same attention in ATen's operators, projected [B, g, g, 3 * hidden] -> [B, g, g, hidden].
  [[nodiscard]] at::Tensor attend_by_windows(const at::Tensor& projected, dim side) const {
    const at::Tensor rel_h = relative_positions(rel_pos_h, side), rel_w = relative_positions(rel_pos_w, side);
    at::Tensor out =
        aten::empty({projected.size(0), projected.size(1), projected.size(2), C.hidden}, projected.options());
    for (const WindowRun& rows : window_runs(projected.size(1), side)) {
      for (const WindowRun& columns : window_runs(projected.size(2), side)) {
        const at::Tensor windows = windows_of(projected, rows, columns, 3);
        const at::Tensor q = windows.select(0, 0).contiguous().view({-1, rows.extent, columns.extent, head_dim(C)});
        const at::Tensor k = keys(windows, 1, side), v = keys(windows, 2, side);
        const at::Tensor attended = relative_attention(q, k, v, rel_h, rel_w);
        windows_of(out, rows, columns, 1).select(0, 0).copy_(attended.view(windows.sizes().slice(1)));
      }
    }
    return out;
  }

  /// View of the windows of two runs, [B, g, g, parts * hidden] -> [parts, B, ny, nx, heads, h, w, head_dim].
  static at::Tensor windows_of(const at::Tensor& tokens, const WindowRun& rows, const WindowRun& columns, dim parts) {
    return tokens.narrow(1, rows.start, rows.count * rows.extent)
        .narrow(2, columns.start, columns.count * columns.extent)
        .unflatten(3, {parts, C.heads, head_dim(C)})
        .unflatten(2, {columns.count, columns.extent})
        .unflatten(1, {rows.count, rows.extent})
        .permute({5, 0, 1, 3, 6, 2, 4, 7});
  }

  /// Keys (part 1) or values (part 2) of whole windows, [B * ny * nx * heads, side * side, head_dim].
  [[nodiscard]] at::Tensor keys(const at::Tensor& windows, dim part, dim side) const {
    const at::Tensor tokens = windows.select(0, part);  // [B, ny, nx, heads, h, w, head_dim]
    const dim h = tokens.size(4), w = tokens.size(5);
    if (h == side && w == side) return tokens.contiguous().view({-1, side * side, head_dim(C)});
    const at::Tensor padding = qkv.bias.view({3, C.heads, 1, 1, head_dim(C)}).select(0, part);
    at::Tensor padded =
        padding.expand({tokens.size(0), tokens.size(1), tokens.size(2), C.heads, side, side, head_dim(C)})
            .clone(at::MemoryFormat::Contiguous);
    padded.narrow(4, 0, h).narrow(5, 0, w).copy_(tokens);
    return padded.view({-1, side * side, head_dim(C)});
  }
};

/// Pre-norm transformer block of the image encoder, with exact GELU.
template <SamConfig C>
struct SamImageBlock {
  LayerNorm<C.hidden> norm1{.eps = 1e-6}, norm2{.eps = 1e-6};
  SamImageAttention<C> attn;
  Linear<C.hidden, C.mlp> lin1;
  Linear<C.mlp, C.hidden> lin2;

  /// The first half, x [B, g, g, hidden] -> [B, g, g, hidden].
  [[nodiscard]] at::Tensor attend(const at::Tensor& x, dim side) const {
    return add_in_place(attn.forward(norm1.forward(x), side), x);
  }

  /// The second half, x [B, g, g, hidden] -> [B, g, g, hidden].
  [[nodiscard]] at::Tensor feed_forward(const at::Tensor& x) const {
    return add_in_place(lin2.forward(gelu_in_place(lin1.forward(norm2.forward(x)))), x);
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, dim side, Visitor&& visit) {
    norm1.for_each_parameter(scoped(prefix, "norm1"), visit);
    attn.for_each_parameter(scoped(prefix, "attn"), side, visit);
    norm2.for_each_parameter(scoped(prefix, "norm2"), visit);
    lin1.for_each_parameter(scoped(prefix, "mlp.lin1"), visit);
    lin2.for_each_parameter(scoped(prefix, "mlp.lin2"), visit);
  }
};

/// The two convolutions that narrow the tokens to the image embedding.
template <SamConfig C>
struct SamNeck {
  at::Tensor reduce;  // [prompt_dim, hidden, 1, 1]
  LayerNorm2d<C.prompt_dim> norm1;
  at::Tensor mix;  // [prompt_dim, prompt_dim, 3, 3]
  LayerNorm2d<C.prompt_dim> norm2;

  /// x [B, g, g, hidden] -> [B, prompt_dim, g, g]. In fp16 it computes in fp32, as LISA does against overflow.
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const {
    if (x.scalar_type() != at::kHalf) return run(x);
    SamNeck wide = *this;
    wide.for_each_parameter("", [](const std::string&, at::Tensor& t, const Shape&) { t = t.to(at::kFloat); });
    return wide.run(x.to(at::kFloat)).to(at::kHalf);
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    visit(scoped(prefix, "0.weight"), reduce, Shape{C.prompt_dim, C.hidden, 1, 1});
    norm1.for_each_parameter(scoped(prefix, "1"), visit);
    visit(scoped(prefix, "2.weight"), mix, Shape{C.prompt_dim, C.prompt_dim, 3, 3});
    norm2.for_each_parameter(scoped(prefix, "3"), visit);
  }

 private:
  [[nodiscard]] at::Tensor run(const at::Tensor& x) const {
    const at::Tensor narrow = norm1.forward(apply_linear(x, reduce.flatten(1)));  // [B, g, g, prompt_dim]
    const at::Tensor mixed = aten::conv2d(narrow.permute({0, 3, 1, 2}), mix, {}, /*stride=*/1, /*padding=*/1);
    return norm2.forward(mixed.permute({0, 2, 3, 1}).contiguous()).permute({0, 3, 1, 2});
  }
};

/// Image encoder of Segment Anything: a vision transformer with window attention, global attention in some blocks, and
/// decomposed relative positions (Kirillov et al. 2023, appendix A). Parameter names are SAM's own.
template <SamConfig C>
struct SamImageEncoder {
  static_assert(C.image > 0 && C.patch > 0 && C.image % C.patch == 0, "SamImageEncoder: patch must divide image");
  static_assert(C.hidden > 0 && C.heads > 0 && C.hidden % C.heads == 0, "SamImageEncoder: heads must divide hidden");
  static_assert(C.mlp > 0 && C.prompt_dim > 0, "SamImageEncoder: mlp and prompt_dim must be positive");
  static_assert(C.layers > 0 && C.layers <= 64, "SamImageEncoder: layers must be 1 to 64");
  static_assert(C.window >= 0, "SamImageEncoder: window must not be negative; 0 makes every block global");

  static constexpr dim prompt_dim = C.prompt_dim;
  static constexpr dim out_features = C.prompt_dim;  ///< channels of the image embedding
  static constexpr dim image_side = C.image;
  static constexpr dim grid_side = grid(C);

  at::Tensor patch_weight;  // [hidden, 3, patch, patch]
  at::Tensor patch_bias;    // [hidden]
  at::Tensor pos_embed;     // [1, g, g, hidden]
  std::array<SamImageBlock<C>, static_cast<std::size_t>(C.layers)> blocks;
  SamNeck<C> neck;

  /// @param images [B, 3, image, image], normalised and zero-padded, in the encoder's dtype
  /// @return image embeddings [B, prompt_dim, g, g], channels last in memory
  /// @throws InputError on another shape
  [[nodiscard]] at::Tensor forward(const at::Tensor& images) const {
    Encoding encoding = begin(images);
    while (!encoding.complete) advance(encoding);
    return encoding.tokens;
  }

  /// The same in steps, for a caller that does something else in between: `advance` until `complete`.
  [[nodiscard]] Encoding begin(const at::Tensor& images) const {
    expect_shape("images", images, {any_extent, 3, C.image, C.image});
    return {.tokens = embed(images)};
  }

  /// Half a block, or the neck behind the last one. After an error the encoding is as it was.
  void advance(Encoding& encoding) const {
    const dim layer = encoding.steps / 2;
    if (layer == C.layers) {
      encoding.tokens = neck.forward(encoding.tokens);
      encoding.complete = true;
    } else {
      const SamImageBlock<C>& block = blocks[static_cast<std::size_t>(layer)];
      encoding.tokens = encoding.steps % 2 == 0 ? block.attend(encoding.tokens, attention_side(C, layer))
                                                : block.feed_forward(encoding.tokens);
    }
    ++encoding.steps;
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    visit(scoped(prefix, "pos_embed"), pos_embed, Shape{1, grid(C), grid(C), C.hidden});
    visit(scoped(prefix, "patch_embed.proj.weight"), patch_weight, Shape{C.hidden, 3, C.patch, C.patch});
    visit(scoped(prefix, "patch_embed.proj.bias"), patch_bias, Shape{C.hidden});
    for (dim i = 0; i < C.layers; ++i) {
      blocks[static_cast<std::size_t>(i)].for_each_parameter(scoped(prefix, "blocks." + std::to_string(i)),
                                                             attention_side(C, i), visit);
    }
    neck.for_each_parameter(scoped(prefix, "neck"), visit);
  }

 private:
  /// [B, 3, image, image] -> tokens [B, g, g, hidden]; the patch convolution is a product because patches do not
  /// overlap.
  [[nodiscard]] at::Tensor embed(const at::Tensor& images) const {
    const at::Tensor patches = images.unflatten(3, {grid(C), C.patch})
                                   .unflatten(2, {grid(C), C.patch})
                                   .permute({0, 2, 4, 1, 3, 5})
                                   .flatten(3);  // [B, g, g, 3 * patch * patch]
    return apply_linear(patches, patch_weight.flatten(1), patch_bias).add(pos_embed);
  }
};

}  // namespace lisa
