#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <string>
#include <utility>

#include "lisa/config/presets.hpp"
#include "lisa/config/spec.hpp"
#include "lisa/llm/llama.hpp"
#include "lisa/model/part.hpp"
#include "lisa/model/seg_mlp.hpp"
#include "lisa/model/visual_mlp.hpp"
#include "lisa/nn/parameter.hpp"
#include "lisa/sam/image_encoder.hpp"
#include "lisa/sam/mask_head.hpp"
#include "lisa/sam/prompt_encoder.hpp"
#include "lisa/vision/clip_tower.hpp"

namespace lisa {

/// What a module says about its widths.
template <class P>
concept Projector = Module<P> && requires {
  { P::in_features } -> std::convertible_to<dim>;
  { P::out_features } -> std::convertible_to<dim>;
};
template <class B>
concept LanguageModel = Module<B> && requires(const B& model, const at::Tensor& tensor) {
  { B::out_features } -> std::convertible_to<dim>;
  { model.embed(tensor) } -> std::same_as<at::Tensor>;
  { model.logits(tensor) } -> std::same_as<at::Tensor>;
};
template <class V>
concept FeatureTower = Module<V> && requires(const V& tower, const at::Tensor& pixels) {
  { V::out_features } -> std::convertible_to<dim>;
  { V::tokens } -> std::convertible_to<dim>;
  { tower.forward(pixels) } -> std::same_as<at::Tensor>;
};
template <class E>
concept ImageEmbedder = Module<E> && requires(const E& encoder, const at::Tensor& image) {
  { E::out_features } -> std::convertible_to<dim>;
  { encoder.forward(image) } -> std::same_as<at::Tensor>;
};
template <class D>
concept PromptedDecoder = Module<D> && requires {
  { D::prompt_dim } -> std::convertible_to<dim>;
  { D::image_dim } -> std::convertible_to<dim>;
  { D::low_res_side } -> std::convertible_to<dim>;
};

/// A reasoning-segmentation model, composed at compile time from a specification (Lai et al. 2023, LISA, figure 3):
/// vision tower and projector turn an image into rows of the language model; the hidden state that belongs to a
/// `[SEG]` token becomes, through the [SEG] projector, the prompt of a mask decoder over the image encoder's features.
/// @tparam S  the specification, for example `Lisa7B` or a struct derived from it
template <ModelSpec S>
class Lisa {
 public:
  using Spec = S;
  using Backbone = typename S::template Backbone<S>;
  using VisionTower = typename S::template VisionTower<S>;
  using VisualProjector = typename S::template VisualProjector<S>;
  using SegProjector = typename S::template SegProjector<S>;
  using ImageEncoder = typename S::template ImageEncoder<S>;
  using MaskDecoder = typename S::template MaskDecoder<S>;
  using SegPolicy = typename S::template SegPolicy<S>;

  static_assert(LanguageModel<Backbone>, "Lisa: Spec::Backbone must be a module with out_features, embed and logits");
  static_assert(FeatureTower<VisionTower>,
                "Lisa: Spec::VisionTower must be a module with out_features, tokens and forward");
  static_assert(Projector<VisualProjector>,
                "Lisa: Spec::VisualProjector must be a module with in_features and out_features");
  static_assert(Projector<SegProjector>, "Lisa: Spec::SegProjector must be a module with in_features and out_features");
  static_assert(ImageEmbedder<ImageEncoder>, "Lisa: Spec::ImageEncoder must be a module with out_features and forward");
  static_assert(PromptedDecoder<MaskDecoder>,
                "Lisa: Spec::MaskDecoder must be a module with prompt_dim, image_dim and low_res_side");
  static_assert(VisualProjector::in_features == VisionTower::out_features,
                "Lisa: VisualProjector input width must equal the vision tower width");
  static_assert(VisualProjector::out_features == Backbone::out_features,
                "Lisa: VisualProjector output width must equal the LLM hidden size");
  static_assert(SegProjector::in_features == Backbone::out_features,
                "Lisa: SegProjector input width must equal the LLM hidden size");
  static_assert(SegProjector::out_features == MaskDecoder::prompt_dim,
                "Lisa: SegProjector output width must equal the mask decoder prompt width");
  static_assert(ImageEncoder::out_features == MaskDecoder::image_dim,
                "Lisa: ImageEncoder output width must equal the mask decoder image width");
  static_assert(SegPolicy::offset == -1 || SegPolicy::offset == 0,
                "Lisa: SegPolicy must read the predicting hidden state (-1) or the [SEG] position itself (0)");

  /// Rows of the language model that stand for one image.
  static constexpr dim visual_tokens = VisionTower::tokens;

  Backbone llm;
  VisionTower vision_tower;
  VisualProjector visual_projector;
  SegProjector seg_projector;
  ImageEncoder image_encoder;
  MaskDecoder mask_decoder;

  /// Visual rows of an image, in the language model's dtype.
  struct VisualRows {
    at::Tensor features;   ///< [B, tokens, vision hidden], the vision tower's output
    at::Tensor projected;  ///< [B, tokens, hidden]
  };

  /// pixel_values [B, 3, H, W], any floating dtype.
  [[nodiscard]] VisualRows encode_visual(const at::Tensor& pixel_values) const {
    return project_visual(vision_tower.forward(as_input_of(vision_tower, pixel_values)));
  }

  /// features [B, tokens, vision hidden] of the vision tower -> rows for the language model.
  [[nodiscard]] VisualRows project_visual(const at::Tensor& features) const {
    const at::Tensor rows = visual_projector.forward(as_input_of(visual_projector, features));
    return {features, as_input_of(llm, rows)};
  }

  /// image [B, 3, side, side], normalised and padded -> image embedding [B, C, grid, grid].
  [[nodiscard]] at::Tensor encode_image(const at::Tensor& image) const {
    return image_encoder.forward(as_input_of(image_encoder, image));
  }

  /// hidden [N, hidden], states of `[SEG]` tokens -> prompts [N, prompt_dim].
  [[nodiscard]] at::Tensor project_seg(const at::Tensor& hidden) const {
    return seg_projector.forward(as_input_of(seg_projector, hidden));
  }

  /// Computes what modules derive from their weights. Call once after these are complete, before anything else.
  void prepare(PositionalPrecision positional = PositionalPrecision::weights) {
    if constexpr (requires { llm.prepare(); }) llm.prepare();
    if constexpr (requires { mask_decoder.prepare(positional); }) mask_decoder.prepare(positional);
  }

  /// Dtype and device of what a module takes: those of its parameters, or those of `x` for a module without any.
  template <class M>
  [[nodiscard]] static at::TensorOptions options_of_input(const M& module, const at::TensorOptions& x) {
    at::Tensor first;
    visit_parameters(module, "", [&](const std::string&, const at::Tensor& value, const Shape&) {
      if (!first.defined()) first = value;
    });
    return first.defined() ? first.options() : x;
  }

  /// `x` in the dtype and on the device of a module's parameters; unchanged for a module without any.
  template <class M>
  [[nodiscard]] static at::Tensor as_input_of(const M& module, const at::Tensor& x) {
    return x.to(options_of_input(module, x.options()));
  }

  /// Visits every part: `visit(Part, module, prefix)` with the prefix of its names in a LISA checkpoint. The vision
  /// tower lives in a folder of its own, under its own names.
  template <class Visitor>
  void for_each_part(Visitor&& visit) {
    visit(Part::llm, llm, std::string());
    visit(Part::vision_tower, vision_tower, std::string());
    visit(Part::visual_projector, visual_projector, std::string("model.mm_projector"));
    visit(Part::seg_projector, seg_projector, std::string("model.text_hidden_fcs.0"));
    visit(Part::image_encoder, image_encoder, std::string("model.visual_model.image_encoder"));
    visit(Part::mask_decoder, mask_decoder, std::string("model.visual_model"));
  }
};

}  // namespace lisa
