#pragma once

#include "lisa/cuda/global_attention.cuh"
#include "lisa/cuda/window_attention.cuh"

namespace simt {

// The attention kernels for the CPU's device policy, as `launch` takes them.

template <class Element, int head_dim>
void global_attention(const lisa::cuda::RelativeAttentionArguments<Element>& arguments);

/// For windows of 14, SAM's, and of 5.
template <class Element, int head_dim, int side>
void window_attention(const lisa::cuda::WindowAttentionArguments<Element>& arguments);

}  // namespace simt
