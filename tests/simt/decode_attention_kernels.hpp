#pragma once

#include "lisa/cuda/decode_attention.cuh"

namespace simt {

// The kernels for the CPU's device policy, as `launch` takes them.

template <class Element, int head_dim>
void decode_attention(const lisa::cuda::DecodeAttentionArguments<Element>& arguments);

template <class Element, int head_dim>
void combine_splits(const lisa::cuda::DecodeAttentionArguments<Element>& arguments);

}  // namespace simt
