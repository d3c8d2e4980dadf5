#include "lisa/nn/layer_norm.hpp"
#include "lisa/nn/linear.hpp"

// expect: Linear: input and output width must be positive
template struct lisa::Linear<0, 4>;

// expect: LayerNorm: width must be positive
template struct lisa::LayerNorm<-1>;
