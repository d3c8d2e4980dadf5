#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace lisa::gpu_test {

/// One lane's operands of the warp's operations.
struct WarpInput {
  std::uint32_t row[4];    // 16 bytes in shared memory for the matrix loads
  std::uint32_t left[4];   // fragment of A [16, 16], bf16 and fp16 alike
  std::uint32_t right[2];  // of B [16, 8]
  float sum[4];            // of the sum [16, 8]
  std::uint32_t value;     // to be shuffled; its lowest bit is the vote
};

/// What a lane gets.
struct WarpOutput {
  std::uint32_t matrix[4], transposed[4];
  float bf16[4], fp16[4];
  std::uint32_t from_lane_5, from_two_below, from_lane_xor_9, ballot;
};

/// Runs the operations of `GpuDevice` in one warp, and waits for it.
[[nodiscard]] cudaError_t run_warp_operations(const WarpInput (&input)[32], WarpOutput (&output)[32]);

}  // namespace lisa::gpu_test
