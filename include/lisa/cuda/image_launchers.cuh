#pragma once

#include <cuda_runtime_api.h>

#include "lisa/cuda/image_preprocess.cuh"

namespace lisa::cuda {

// Launchers queue work on `stream` and return at once. All pointers are of device memory. What a kernel can't do
// (resize_columns_refusal, image_planes_refusal) is cudaErrorInvalidValue, and nothing is launched.

/// `ResizeColumnsArguments` says what is computed. Limits: a result of 1 to 65535 pixels per side.
[[nodiscard]] cudaError_t launch_resize_columns(const ResizeColumnsArguments& arguments, cudaStream_t stream);

/// `ImagePlanesArguments` says what is computed. Behind `launch_resize_columns` on the same stream it needs no more
/// synchronisation. Limits: planes of 1 to 16384 pixels per side, and a picture inside them whose rows do not overlap.
[[nodiscard]] cudaError_t launch_image_planes(const ImagePlanesArguments<float>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_image_planes(const ImagePlanesArguments<Bf16>& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_image_planes(const ImagePlanesArguments<Fp16>& arguments, cudaStream_t stream);

}  // namespace lisa::cuda
