// What a user's file sees, for a second compiler: the umbrella header where it exists, and every template instantiated.
#if __has_include("lisa/lisa.hpp")
#include "lisa/lisa.hpp"
#endif
#include "lisa/nn/layer_norm.hpp"
#include "lisa/nn/linear.hpp"

template struct lisa::Linear<8, 4>;
template struct lisa::Linear<8, 4, lisa::Bias::no>;
template struct lisa::LayerNorm<8>;
