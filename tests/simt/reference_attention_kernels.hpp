#pragma once

#include "lisa/cuda/reference_attention.cuh"

namespace simt {

// The reference kernels for the CPU's device policy, as `launch` takes them.

void reference_window_attention(const lisa::cuda::WindowAttentionArguments<float>& arguments);
void reference_causal_attention(const lisa::cuda::CausalAttentionArguments<float>& arguments);

}  // namespace simt
