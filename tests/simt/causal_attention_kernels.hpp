#pragma once

#include "lisa/cuda/causal_attention.cuh"

namespace simt {

// The kernel for the CPU's device policy, as `launch` takes it.

template <class Element, int head_dim>
void causal_attention(const lisa::cuda::CausalAttentionArguments<Element>& arguments);

}  // namespace simt
