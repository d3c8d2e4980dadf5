#pragma once

#include "lisa/cuda/causal_attention.cuh"
#include "lisa/cuda/causal_attention_gradient.cuh"
#include "lisa/cuda/decode_attention.cuh"

namespace simt {

// The causal attention kernels for the CPU's device policy, as `launch` takes them.

template <class Element, int head_dim>
void causal_attention(const lisa::cuda::CausalAttentionArguments<Element>& arguments);

template <class Element, int head_dim>
void query_terms(const lisa::cuda::CausalAttentionGradientArguments<Element>& arguments);

template <class Element, int head_dim>
void query_gradient(const lisa::cuda::CausalAttentionGradientArguments<Element>& arguments);

template <class Element, int head_dim>
void key_gradient(const lisa::cuda::CausalAttentionGradientArguments<Element>& arguments);

template <class Element, int head_dim>
void decode_attention(const lisa::cuda::DecodeAttentionArguments<Element>& arguments);

template <class Element, int head_dim>
void combine_splits(const lisa::cuda::DecodeAttentionArguments<Element>& arguments);

}  // namespace simt
