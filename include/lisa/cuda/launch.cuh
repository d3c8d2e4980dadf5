#pragma once

#include <cuda_runtime_api.h>

#include "lisa/cuda/launch_geometry.hpp"

namespace lisa::cuda {

/// Launches `kernel(arguments)`; an empty grid is no launch. More than 48 KiB of shared memory are asked for where
/// needed.
template <class Arguments>
[[nodiscard]] cudaError_t launch(void (*kernel)(Arguments), const LaunchGeometry& geometry, const Arguments& arguments,
                                 cudaStream_t stream) {
  const GridExtent grid = geometry.grid;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaSuccess;
  constexpr int always_available = 48 * 1024;
  const auto* const function = reinterpret_cast<const void*>(kernel);
  if (geometry.shared_bytes > always_available) {
    const cudaError_t status =
        cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, geometry.shared_bytes);
    if (status != cudaSuccess) return status;
  }
  Arguments copy = arguments;
  void* parameters[] = {&copy};
  return cudaLaunchKernel(
      function, dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z)),
      dim3(static_cast<unsigned>(geometry.threads)), parameters, static_cast<std::size_t>(geometry.shared_bytes),
      stream);
}

}  // namespace lisa::cuda
