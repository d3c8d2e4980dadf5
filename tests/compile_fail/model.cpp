// Specifications whose modules do not fit together.
#include "lisa/model/lisa_model.hpp"

template <lisa::dim In, lisa::dim Out>
using OneLayer = lisa::Linear<In, Out>;

struct WideSegProjector : lisa::Lisa7B {
  template <class S>
  using SegProjector = OneLayer<S::llm.hidden, 512>;
};
// expect: Lisa: SegProjector output width must equal the mask decoder prompt width
template class lisa::Lisa<WideSegProjector>;

struct SegProjectorOfAnotherModel : lisa::Lisa7B {
  template <class S>
  using SegProjector = OneLayer<5120, S::sam.prompt_dim>;
};
// expect: Lisa: SegProjector input width must equal the LLM hidden size
template class lisa::Lisa<SegProjectorOfAnotherModel>;

struct NarrowVisualProjector : lisa::Lisa7B {
  template <class S>
  using VisualProjector = OneLayer<S::vision.hidden, 2048>;
};
// expect: Lisa: VisualProjector output width must equal the LLM hidden size
template class lisa::Lisa<NarrowVisualProjector>;

struct VisualProjectorOfAnotherTower : lisa::Lisa7B {
  template <class S>
  using VisualProjector = OneLayer<768, S::llm.hidden>;
};
// expect: Lisa: VisualProjector input width must equal the vision tower width
template class lisa::Lisa<VisualProjectorOfAnotherTower>;

struct NarrowImageEncoder : lisa::Lisa7B {
  template <class S>
  using ImageEncoder = lisa::SamImageEncoder<lisa::SamConfig{.prompt_dim = 128}>;
};
// expect: Lisa: ImageEncoder output width must equal the mask decoder image width
template class lisa::Lisa<NarrowImageEncoder>;

struct TextAsSegProjector : lisa::Lisa7B {
  template <class S>
  using SegProjector = std::string;
};
// expect: Lisa: Spec::SegProjector must be a module with in_features and out_features
template class lisa::Lisa<TextAsSegProjector>;

struct LayerAsBackbone : lisa::Lisa7B {
  template <class S>
  using Backbone = OneLayer<4096, 4096>;
};
// expect: Lisa: Spec::Backbone must be a module with out_features, embed and logits
template class lisa::Lisa<LayerAsBackbone>;

struct LayerAsVisionTower : lisa::Lisa7B {
  template <class S>
  using VisionTower = lisa::LayerNorm<1024>;
};
// expect: Lisa: Spec::VisionTower must be a module with out_features, tokens and forward
template class lisa::Lisa<LayerAsVisionTower>;

struct LayerAsMaskDecoder : lisa::Lisa7B {
  template <class S>
  using MaskDecoder = OneLayer<256, 256>;
};
// expect: Lisa: Spec::MaskDecoder must be a module with prompt_dim, image_dim and low_res_side
template class lisa::Lisa<LayerAsMaskDecoder>;

struct NextHiddenState {
  static constexpr lisa::dim offset = 1;
};
struct PolicyBeyondTheToken : lisa::Lisa7B {
  template <class S>
  using SegPolicy = NextHiddenState;
};
// expect: Lisa: SegPolicy must read the predicting hidden state (-1) or the [SEG] position itself (0)
template class lisa::Lisa<PolicyBeyondTheToken>;
