#include "lisa/cuda/attention_launchers.cuh"
#include "lisa/cuda/gpu_device.cuh"
#include "lisa/cuda/launch.cuh"

namespace lisa::cuda {

template <class Element, int head_dim>
__global__ void __launch_bounds__(GlobalAttentionShared<Element, head_dim>::tile.threads())
    global_attention_kernel(const __grid_constant__ RelativeAttentionArguments<Element> arguments) {
  global_attention<GpuDevice, Element, head_dim>(arguments);
}

namespace {

/// Whether the current device is of compute capability 9.0.
cudaError_t is_hopper(bool& hopper) {
  int device = 0, major = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status == cudaSuccess) status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  hopper = major == 9;
  return status;
}

template <class Element>
cudaError_t launch_checked(const RelativeAttentionArguments<Element>& arguments, cudaStream_t stream) {
  if (global_attention_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  bool hopper = false;
  if (const cudaError_t status = is_hopper(hopper); status != cudaSuccess) return status;
  if (hopper && hopper_attention_refusal(arguments) == nullptr) return launch_global_attention_sm90a(arguments, stream);
  const auto kernel =
      arguments.head_dim == 64 ? global_attention_kernel<Element, 64> : global_attention_kernel<Element, 80>;
  return launch(kernel, global_attention_geometry(arguments), arguments, stream);
}

}  // namespace

cudaError_t launch_global_attention(const RelativeAttentionArguments<Bf16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}
cudaError_t launch_global_attention(const RelativeAttentionArguments<Fp16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}

}  // namespace lisa::cuda
