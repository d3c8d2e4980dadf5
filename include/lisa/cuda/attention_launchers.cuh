#pragma once

#include <cuda_runtime_api.h>

#include "lisa/cuda/global_attention.cuh"
#include "lisa/cuda/global_attention_sm90a.cuh"
#include "lisa/cuda/window_attention.cuh"

namespace lisa::cuda {

// Launchers queue work on `stream` and return at once. All pointers are of device memory. What a kernel can't do
// (global_attention_refusal, window_attention_refusal) is cudaErrorInvalidValue, and nothing is launched. There is no
// backward pass: SAM's encoder is frozen.

/// `RelativeAttentionArguments` says what is computed. On a device of compute capability 9.0 it is computed by
/// `launch_global_attention_sm90a`, where that can.
[[nodiscard]] cudaError_t launch_global_attention(const RelativeAttentionArguments<Bf16>& arguments,
                                                  cudaStream_t stream);
[[nodiscard]] cudaError_t launch_global_attention(const RelativeAttentionArguments<Fp16>& arguments,
                                                  cudaStream_t stream);

/// The same with products of warpgroups and tensor copies; other devices than those of compute capability 9.0 have
/// neither. hopper_attention_refusal says what it can't do beside.
[[nodiscard]] cudaError_t launch_global_attention_sm90a(const RelativeAttentionArguments<Bf16>& arguments,
                                                        cudaStream_t stream);
[[nodiscard]] cudaError_t launch_global_attention_sm90a(const RelativeAttentionArguments<Fp16>& arguments,
                                                        cudaStream_t stream);

/// `WindowAttentionArguments` says what is computed.
[[nodiscard]] cudaError_t launch_window_attention(const WindowAttentionArguments<Bf16>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_window_attention(const WindowAttentionArguments<Fp16>& arguments, cudaStream_t stream);

}  // namespace lisa::cuda
