#pragma once

#include <cuda_runtime_api.h>

#include "lisa/cuda/gemv.cuh"
#include "lisa/cuda/rms_norm.cuh"

namespace lisa::cuda {

// Launchers queue work on `stream` and return at once. All pointers are of device memory. What a kernel can't do
// (rms_norm_refusal, gemv_refusal) is cudaErrorInvalidValue, and nothing is launched.

/// `RmsNormArguments` says what is computed.
[[nodiscard]] cudaError_t launch_rms_norm(const RmsNormArguments<Bf16>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_rms_norm(const RmsNormArguments<Fp16>& arguments, cudaStream_t stream);

/// `GemvArguments` says what is computed.
[[nodiscard]] cudaError_t launch_gemv(const GemvArguments<Bf16>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_gemv(const GemvArguments<Fp16>& arguments, cudaStream_t stream);

}  // namespace lisa::cuda
