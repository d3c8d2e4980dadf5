#pragma once

// Knows whether lisa::cuda is linked: the target's definition LISA_CUDA says so, here and for CUDA graphs
// (gpu/recorded_work.hpp), nowhere else. What every operator needs of the CUDA kernels, their arguments and refusals,
// is here in every build; launchers and streams only with them.

// Kernels say `#pragma unroll`, which is nvcc's: host compilers warn of it outside of system headers.
#pragma GCC system_header

#include <c10/core/Device.h>

#include "lisa/base/error.hpp"
#include "lisa/cuda/causal_attention.cuh"
#include "lisa/cuda/causal_attention_gradient.cuh"
#include "lisa/cuda/decode_attention.cuh"
#include "lisa/cuda/gemv.cuh"
#include "lisa/cuda/global_attention.cuh"
#include "lisa/cuda/image_preprocess.cuh"
#include "lisa/cuda/mask_upsample.cuh"
#include "lisa/cuda/reference_attention.cuh"
#include "lisa/cuda/rms_norm.cuh"
#include "lisa/cuda/window_attention.cuh"

#if defined(LISA_CUDA)
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "lisa/cuda/attention_launchers.cuh"
#include "lisa/cuda/causal_attention_launchers.cuh"
#include "lisa/cuda/decode_launchers.cuh"
#include "lisa/cuda/image_launchers.cuh"
#include "lisa/cuda/mask_launchers.cuh"
#include "lisa/cuda/reference_attention_launchers.cuh"
#endif

namespace lisa::gpu {

#if defined(LISA_CUDA)

/// Whether the program is linked with the compiled kernels (lisa::cuda).
inline constexpr bool kernels_linked = true;

/// Calls `launch(stream)` with libtorch's current stream of a GPU. @throws IoError where CUDA reports an error
/// @param name of the kernel, for the message
template <class Launch>
void launch_on_current_stream(c10::Device device, const char* name, const Launch& launch) {
  const c10::cuda::CUDAGuard guard(device);
  const cudaError_t status = launch(c10::cuda::getCurrentCUDAStream(device.index()).stream());
  if (status != cudaSuccess) throw IoError("", name, cudaGetErrorString(status));
}

/// Multiprocessors of a GPU. @throws IoError where CUDA reports an error
[[nodiscard]] inline int multiprocessors(c10::Device device) {
  int count = 0;
  const cudaError_t status = cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device.index());
  if (status != cudaSuccess) throw IoError("", "multiprocessors", cudaGetErrorString(status));
  return count;
}

#else

inline constexpr bool kernels_linked = false;

/// Called in discarded branches only: without lisa::cuda there is nothing to launch.
template <class Launch>
void launch_on_current_stream(c10::Device device, const char* name, const Launch& launch);
[[nodiscard]] int multiprocessors(c10::Device device);

#endif

}  // namespace lisa::gpu
