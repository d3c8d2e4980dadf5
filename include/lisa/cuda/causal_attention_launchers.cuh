#pragma once

#include <cuda_runtime_api.h>

#include "lisa/cuda/causal_attention.cuh"
#include "lisa/cuda/causal_attention_gradient.cuh"
#include "lisa/cuda/decode_attention.cuh"

namespace lisa::cuda {

// Launchers queue work on `stream` and return at once. All pointers are of device memory, the sequences' rows too, so
// that a captured graph sees new lengths. What a kernel can't do (its `..._refusal`) is cudaErrorInvalidValue, and
// nothing is launched.

/// `CausalAttentionArguments` says what is computed.
/// Limits: head_dim 64 or 128; 0 to 65535 sequences of 0 to 2^24 queries; 1 to 65535 heads, a multiple of the key
/// heads; a positive scale; q, k, v and out start at multiples of 16 bytes, and strides are multiples of 8 elements.
[[nodiscard]] cudaError_t launch_causal_attention(const CausalAttentionArguments<Bf16>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_causal_attention(const CausalAttentionArguments<Fp16>& arguments, cudaStream_t stream);

/// `CausalAttentionGradientArguments` says what is computed: three kernels, one after the other.
/// Limits: those of `launch_causal_attention`, whose log_sum must have been wanted; sequences of 0 to 2^24 keys; all
/// gradients and the workspace start at multiples of 16 bytes.
[[nodiscard]] cudaError_t launch_causal_attention_gradient(const CausalAttentionGradientArguments<Bf16>& arguments,
                                                           cudaStream_t stream);
[[nodiscard]] cudaError_t launch_causal_attention_gradient(const CausalAttentionGradientArguments<Fp16>& arguments,
                                                           cudaStream_t stream);

/// `DecodeAttentionArguments` says what is computed: two kernels, one after the other.
/// Limits: head_dim 64 or 128; 0 to 65535 sequences; 1 to 65535 heads, a multiple of the key heads, of which each is
/// shared by up to 16; 1 to 256 splits; a positive scale; all tensors of elements start at multiples of 16 bytes, and
/// strides are multiples of 8 elements.
[[nodiscard]] cudaError_t launch_decode_attention(const DecodeAttentionArguments<Bf16>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_decode_attention(const DecodeAttentionArguments<Fp16>& arguments, cudaStream_t stream);

}  // namespace lisa::cuda
