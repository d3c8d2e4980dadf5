#pragma once

#include <cuda_runtime_api.h>

#include "lisa/cuda/reference_attention.cuh"

namespace lisa::cuda {

// Launchers queue work on `stream` and return at once. All pointers are of device memory. What a kernel can't do (its
// `..._refusal`) is cudaErrorInvalidValue, and nothing is launched.

/// `WindowAttentionArguments` says what is computed.
/// Limits: head_dim 1 to 128; windows and a grid of 1 to 4096 tokens per side; 0 to 65535 images, 1 to 65535 heads; a
/// positive scale. Addresses and strides may be any.
[[nodiscard]] cudaError_t launch_reference_window_attention(const WindowAttentionArguments<float>& arguments,
                                                            cudaStream_t stream);

/// `CausalAttentionArguments` says what is computed.
/// Limits: head_dim 1 to 128; 0 to 65535 sequences of 0 to 2^24 queries; 1 to 65535 heads, a multiple of the key heads;
/// a positive scale. Addresses and strides may be any.
[[nodiscard]] cudaError_t launch_reference_causal_attention(const CausalAttentionArguments<float>& arguments,
                                                            cudaStream_t stream);

}  // namespace lisa::cuda
