#pragma once

#include <cuda_runtime_api.h>

#include "warp_recording.hpp"

namespace lisa::gpu_test {

using simt::WarpInput;
using simt::WarpOutput;

/// Runs the operations of `GpuDevice` in one warp, and waits for it.
[[nodiscard]] cudaError_t run_warp_operations(const WarpInput (&input)[32], WarpOutput (&output)[32]);

}  // namespace lisa::gpu_test
