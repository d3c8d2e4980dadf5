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
[[nodiscard]] cudaError_t launch_causal_attention(const CausalAttentionArguments<Bf16>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_causal_attention(const CausalAttentionArguments<Fp16>& arguments, cudaStream_t stream);

/// `CausalAttentionGradientArguments` says what is computed.
[[nodiscard]] cudaError_t launch_causal_attention_gradient(const CausalAttentionGradientArguments<Bf16>& arguments,
                                                           cudaStream_t stream);
[[nodiscard]] cudaError_t launch_causal_attention_gradient(const CausalAttentionGradientArguments<Fp16>& arguments,
                                                           cudaStream_t stream);

/// `DecodeAttentionArguments` says what is computed.
[[nodiscard]] cudaError_t launch_decode_attention(const DecodeAttentionArguments<Bf16>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_decode_attention(const DecodeAttentionArguments<Fp16>& arguments, cudaStream_t stream);

}  // namespace lisa::cuda
