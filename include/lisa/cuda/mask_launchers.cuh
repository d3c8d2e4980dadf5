#pragma once

#include <cuda_runtime_api.h>

#include "lisa/cuda/mask_run_lengths.cuh"
#include "lisa/cuda/mask_upsample.cuh"

namespace lisa::cuda {

// Launchers queue work on `stream` and return at once. All pointers are of device memory. What a kernel can't do
// (mask_upsample_refusal, mask_run_lengths_refusal) is cudaErrorInvalidValue, and nothing is launched.

/// `MaskUpsampleArguments` says what is computed.
[[nodiscard]] cudaError_t launch_mask_upsample(const MaskUpsampleArguments<float>& arguments, MaskRounding rounding,
                                               cudaStream_t stream);
[[nodiscard]] cudaError_t launch_mask_upsample(const MaskUpsampleArguments<Bf16>& arguments, MaskRounding rounding,
                                               cudaStream_t stream);
[[nodiscard]] cudaError_t launch_mask_upsample(const MaskUpsampleArguments<Fp16>& arguments, MaskRounding rounding,
                                               cudaStream_t stream);

/// `MaskRunLengthsArguments` says what is computed. Behind `launch_mask_upsample` on the same stream it needs no more
/// synchronisation.
[[nodiscard]] cudaError_t launch_mask_run_lengths(const MaskRunLengthsArguments& arguments, cudaStream_t stream);

}  // namespace lisa::cuda
