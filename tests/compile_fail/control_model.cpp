// The presets, and a specification that replaces two slots with modules of the right widths.
#include "lisa/model/lisa_model.hpp"

template class lisa::Lisa<lisa::Lisa7B>;
template class lisa::Lisa<lisa::Lisa13BLlama2>;

struct OneLayerProjectors : lisa::Lisa7B {
  template <class S>
  using SegProjector = lisa::Linear<S::llm.hidden, S::sam.prompt_dim>;
  template <class S>
  using VisualProjector = lisa::Linear<S::vision.hidden, S::llm.hidden>;
};
template class lisa::Lisa<OneLayerProjectors>;
