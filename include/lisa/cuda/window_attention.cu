#include "lisa/cuda/attention_launchers.cuh"
#include "lisa/cuda/gpu_device.cuh"
#include "lisa/cuda/launch.cuh"

namespace lisa::cuda {

template <class Element, int head_dim>
__global__ void __launch_bounds__(WindowAttentionShared<Element, head_dim, sam_window_side>::tile.threads())
    window_attention_kernel(const __grid_constant__ WindowAttentionArguments<Element> arguments) {
  window_attention<GpuDevice, Element, head_dim, sam_window_side>(arguments);
}

namespace {

template <class Element>
cudaError_t launch_checked(const WindowAttentionArguments<Element>& arguments, cudaStream_t stream) {
  if (window_attention_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  const auto kernel =
      arguments.attention.head_dim == 64 ? window_attention_kernel<Element, 64> : window_attention_kernel<Element, 80>;
  return launch(kernel, window_attention_geometry<sam_window_side>(arguments), arguments, stream);
}

}  // namespace

cudaError_t launch_window_attention(const WindowAttentionArguments<Bf16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}
cudaError_t launch_window_attention(const WindowAttentionArguments<Fp16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}

}  // namespace lisa::cuda
