#pragma once

#include <cuda_runtime_api.h>

#include "lisa/cuda/gemv.cuh"
#include "lisa/cuda/rms_norm.cuh"

namespace lisa::cuda {

// Launchers queue work on `stream` and return at once. All pointers are of device memory. What a kernel can't do
// (rms_norm_refusal, gemv_refusal) is cudaErrorInvalidValue, and nothing is launched.

/// `RmsNormArguments` says what is computed.
/// Limits: at least 0 rows of 1 to 65536 elements, at any address; eps at least 0.
[[nodiscard]] cudaError_t launch_rms_norm(const RmsNormArguments<Bf16>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_rms_norm(const RmsNormArguments<Fp16>& arguments, cudaStream_t stream);

/// `GemvArguments` says what is computed.
/// Limits: 0 to 8 rows; inputs a multiple of 8 for weights of 16 bits, of 16 for int8, of their group for int4; 1 to
/// 2^28 outputs of each matrix, as many of gate as of up, whole heads of an even head_dim where they are rotated; x and
/// the weights start at multiples of 16 bytes, and x's stride is a multiple of 8 elements.
[[nodiscard]] cudaError_t launch_gemv(const GemvArguments<Bf16>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_gemv(const GemvArguments<Fp16>& arguments, cudaStream_t stream);

}  // namespace lisa::cuda
