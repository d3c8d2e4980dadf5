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
/// Limits: head_dim 64 or 80; a grid of 1 to 64 tokens per side; 0 to 65535 images, 1 to 65535 heads; a positive scale;
/// q, k, v, out and both tables start at multiples of 16 bytes, and strides are multiples of 8 elements.
[[nodiscard]] cudaError_t launch_global_attention(const RelativeAttentionArguments<Bf16>& arguments,
                                                  cudaStream_t stream);
[[nodiscard]] cudaError_t launch_global_attention(const RelativeAttentionArguments<Fp16>& arguments,
                                                  cudaStream_t stream);

/// The same with products of warpgroups and tensor copies; other devices than those of compute capability 9.0 have
/// neither. Limits: those of `launch_global_attention`; the strides of q, k and v, of a row of the grid too, are
/// positive and below 2^39 elements (hopper_attention_refusal).
[[nodiscard]] cudaError_t launch_global_attention_sm90a(const RelativeAttentionArguments<Bf16>& arguments,
                                                        cudaStream_t stream);
[[nodiscard]] cudaError_t launch_global_attention_sm90a(const RelativeAttentionArguments<Fp16>& arguments,
                                                        cudaStream_t stream);

/// `WindowAttentionArguments` says what is computed.
/// Limits: head_dim 64 or 80; windows of 14 x 14; a grid of 1 to 4096 tokens per side; 0 to 65535 images, 1 to 65535
/// heads; a positive scale; q, k, v, out, both tables and both paddings start at multiples of 16 bytes, and strides are
/// multiples of 8 elements.
[[nodiscard]] cudaError_t launch_window_attention(const WindowAttentionArguments<Bf16>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_window_attention(const WindowAttentionArguments<Fp16>& arguments, cudaStream_t stream);

}  // namespace lisa::cuda
