#pragma once

#include "lisa/cuda/causal_attention_gradient.cuh"

namespace simt {

// The kernels for the CPU's device policy, as `launch` takes them.

template <class Element, int head_dim>
void query_terms(const lisa::cuda::CausalAttentionGradientArguments<Element>& arguments);

template <class Element, int head_dim>
void query_gradient(const lisa::cuda::CausalAttentionGradientArguments<Element>& arguments);

template <class Element, int head_dim>
void key_gradient(const lisa::cuda::CausalAttentionGradientArguments<Element>& arguments);

}  // namespace simt
