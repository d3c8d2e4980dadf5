#pragma once

#include <cuda_runtime_api.h>

#include "lisa/cuda/reference_attention.cuh"

namespace lisa::cuda {

// Launchers queue work on `stream` and return at once. All pointers are of device memory. What a kernel can't do (its
// `..._refusal`) is cudaErrorInvalidValue, and nothing is launched.

/// `WindowAttentionArguments` says what is computed.
[[nodiscard]] cudaError_t launch_reference_window_attention(const WindowAttentionArguments<float>& arguments,
                                                            cudaStream_t stream);

/// `CausalAttentionArguments` says what is computed.
[[nodiscard]] cudaError_t launch_reference_causal_attention(const CausalAttentionArguments<float>& arguments,
                                                            cudaStream_t stream);

}  // namespace lisa::cuda
