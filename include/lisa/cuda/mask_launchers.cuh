#pragma once

#include <cuda_runtime_api.h>

#include "lisa/cuda/mask_upsample.cuh"

namespace lisa::cuda {

// Launchers queue work on `stream` and return at once. All pointers are of device memory. What a kernel can't do
// (mask_upsample_refusal) is cudaErrorInvalidValue, and nothing is launched.

/// `MaskUpsampleArguments` says what is computed. Launches that share the memory in which run lengths are made must be
/// ordered, as those of one stream are.
/// Limits: 0 to 65535 masks; a padded square of 1 to 2048 pixels per side, no smaller than the low-res masks, with the
/// resized image inside; an image of 1 to 65535 pixels per side; run lengths need the bits by columns and room for one.
[[nodiscard]] cudaError_t launch_mask_upsample(const MaskUpsampleArguments<float>& arguments, MaskRounding rounding,
                                               cudaStream_t stream);
[[nodiscard]] cudaError_t launch_mask_upsample(const MaskUpsampleArguments<Bf16>& arguments, MaskRounding rounding,
                                               cudaStream_t stream);
[[nodiscard]] cudaError_t launch_mask_upsample(const MaskUpsampleArguments<Fp16>& arguments, MaskRounding rounding,
                                               cudaStream_t stream);

}  // namespace lisa::cuda
