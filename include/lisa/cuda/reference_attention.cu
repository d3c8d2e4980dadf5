#include "lisa/cuda/gpu_device.cuh"
#include "lisa/cuda/launch.cuh"
#include "lisa/cuda/reference_attention_launchers.cuh"

namespace lisa::cuda {

__global__ void __launch_bounds__(reference_block_warps * 32)
    reference_window_attention_kernel(const __grid_constant__ WindowAttentionArguments<float> arguments) {
  reference_window_attention<GpuDevice>(arguments);
}

__global__ void __launch_bounds__(reference_block_warps * 32)
    reference_causal_attention_kernel(const __grid_constant__ CausalAttentionArguments<float> arguments) {
  reference_causal_attention<GpuDevice>(arguments);
}

cudaError_t launch_reference_window_attention(const WindowAttentionArguments<float>& arguments, cudaStream_t stream) {
  if (reference_window_attention_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  return launch(reference_window_attention_kernel, reference_window_attention_geometry(arguments), arguments, stream);
}

cudaError_t launch_reference_causal_attention(const CausalAttentionArguments<float>& arguments, cudaStream_t stream) {
  if (reference_causal_attention_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  return launch(reference_causal_attention_kernel, reference_causal_attention_geometry(arguments), arguments, stream);
}

}  // namespace lisa::cuda
