#include "lisa/cuda/gpu_device.cuh"
#include "tests/gpu/warp_vectors.hpp"

namespace lisa::gpu_test {
namespace {

using cuda::Bf16;
using cuda::Fp16;
using Dev = cuda::GpuDevice;

__device__ void copy(float (&to)[4], const float (&from)[4]) {
  for (int i = 0; i < 4; ++i) to[i] = from[i];
}

__global__ void warp_operations(const WarpInput* inputs, WarpOutput* outputs) {
  __shared__ __align__(16) std::uint32_t rows[32][4];
  const int lane = Dev::thread_index();
  const WarpInput input = inputs[lane];
  WarpOutput output{};
  for (int i = 0; i < 4; ++i) rows[lane][i] = input.row[i];
  Dev::sync_warp();
  Dev::load_matrix(output.matrix, rows[lane]);
  Dev::load_matrix_transposed(output.transposed, rows[lane]);
  copy(output.bf16, input.sum);
  Dev::multiply<Bf16>(output.bf16, input.left, input.right);
  copy(output.fp16, input.sum);
  Dev::multiply<Fp16>(output.fp16, input.left, input.right);
  output.from_lane_5 = Dev::shuffle(input.value, 5);
  output.from_two_below = Dev::shuffle_up(input.value, 2);
  output.from_lane_xor_9 = Dev::shuffle_xor(input.value, 9);
  output.ballot = Dev::ballot((input.value & 1) != 0);
  outputs[lane] = output;
}

}  // namespace

cudaError_t run_warp_operations(const WarpInput (&input)[32], WarpOutput (&output)[32]) {
  void* memory = nullptr;
  cudaError_t status = cudaMalloc(&memory, sizeof input + sizeof output);
  if (status != cudaSuccess) return status;
  auto* const inputs = static_cast<WarpInput*>(memory);
  auto* const outputs = reinterpret_cast<WarpOutput*>(inputs + 32);
  status = cudaMemcpy(inputs, input, sizeof input, cudaMemcpyHostToDevice);
  if (status == cudaSuccess) {
    warp_operations<<<1, 32>>>(inputs, outputs);
    status = cudaGetLastError();
  }
  if (status == cudaSuccess) status = cudaMemcpy(output, outputs, sizeof output, cudaMemcpyDeviceToHost);
  const cudaError_t freed = cudaFree(memory);
  return status == cudaSuccess ? freed : status;
}

}  // namespace lisa::gpu_test
