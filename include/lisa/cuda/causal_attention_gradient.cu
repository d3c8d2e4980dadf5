#include "lisa/cuda/causal_attention_launchers.cuh"
#include "lisa/cuda/gpu_device.cuh"
#include "lisa/cuda/launch.cuh"

namespace lisa::cuda {

template <class Element, int head_dim>
__global__ void __launch_bounds__(causal_gradient_tile<Element>(Architecture::sm80, head_dim).threads())
    query_terms_kernel(const __grid_constant__ CausalAttentionGradientArguments<Element> arguments) {
  query_terms<GpuDevice, Element, head_dim>(arguments);
}

template <class Element, int head_dim>
__global__ void __launch_bounds__(causal_gradient_tile<Element>(Architecture::sm80, head_dim).threads())
    query_gradient_kernel(const __grid_constant__ CausalAttentionGradientArguments<Element> arguments) {
  query_gradient<GpuDevice, Element, head_dim>(arguments);
}

template <class Element, int head_dim>
__global__ void __launch_bounds__(causal_gradient_tile<Element>(Architecture::sm80, head_dim).threads())
    key_gradient_kernel(const __grid_constant__ CausalAttentionGradientArguments<Element> arguments) {
  key_gradient<GpuDevice, Element, head_dim>(arguments);
}

namespace {

template <class Element, int head_dim>
cudaError_t launch_all(const CausalAttentionGradientArguments<Element>& arguments, cudaStream_t stream) {
  const cudaError_t status =
      launch(query_terms_kernel<Element, head_dim>, query_terms_geometry(arguments), arguments, stream);
  if (status != cudaSuccess) return status;
  const cudaError_t of_queries =
      launch(query_gradient_kernel<Element, head_dim>, query_gradient_geometry(arguments), arguments, stream);
  if (of_queries != cudaSuccess) return of_queries;
  return launch(key_gradient_kernel<Element, head_dim>, key_gradient_geometry(arguments), arguments, stream);
}

template <class Element>
cudaError_t launch_checked(const CausalAttentionGradientArguments<Element>& arguments, cudaStream_t stream) {
  if (causal_attention_gradient_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  return arguments.forward.head_dim == 64 ? launch_all<Element, 64>(arguments, stream)
                                          : launch_all<Element, 128>(arguments, stream);
}

}  // namespace

cudaError_t launch_causal_attention_gradient(const CausalAttentionGradientArguments<Bf16>& arguments,
                                             cudaStream_t stream) {
  return launch_checked(arguments, stream);
}
cudaError_t launch_causal_attention_gradient(const CausalAttentionGradientArguments<Fp16>& arguments,
                                             cudaStream_t stream) {
  return launch_checked(arguments, stream);
}

}  // namespace lisa::cuda
