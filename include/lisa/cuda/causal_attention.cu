#include "lisa/cuda/causal_attention_launchers.cuh"
#include "lisa/cuda/gpu_device.cuh"
#include "lisa/cuda/launch.cuh"

namespace lisa::cuda {

template <class Element, int head_dim>
__global__ void __launch_bounds__(CausalAttentionShared<Element, head_dim>::tile.threads())
    causal_attention_kernel(const __grid_constant__ CausalAttentionArguments<Element> arguments) {
  causal_attention<GpuDevice, Element, head_dim>(arguments);
}

namespace {

template <class Element>
cudaError_t launch_checked(const CausalAttentionArguments<Element>& arguments, cudaStream_t stream) {
  if (causal_attention_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  const auto kernel =
      arguments.head_dim == 64 ? causal_attention_kernel<Element, 64> : causal_attention_kernel<Element, 128>;
  return launch(kernel, causal_attention_geometry(arguments), arguments, stream);
}

}  // namespace

cudaError_t launch_causal_attention(const CausalAttentionArguments<Bf16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}
cudaError_t launch_causal_attention(const CausalAttentionArguments<Fp16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}

}  // namespace lisa::cuda
