#include "lisa/cuda/causal_attention_launchers.cuh"
#include "lisa/cuda/gpu_device.cuh"
#include "lisa/cuda/launch.cuh"

namespace lisa::cuda {

template <class Element, int head_dim>
__global__ void __launch_bounds__(DecodeAttentionShared<Element, head_dim>::tile.threads())
    decode_attention_kernel(const __grid_constant__ DecodeAttentionArguments<Element> arguments) {
  decode_attention<GpuDevice, Element, head_dim>(arguments);
}

template <class Element, int head_dim>
__global__ void __launch_bounds__(head_dim / 2)
    combine_splits_kernel(const __grid_constant__ DecodeAttentionArguments<Element> arguments) {
  combine_splits<GpuDevice, Element, head_dim>(arguments);
}

namespace {

template <class Element, int head_dim>
cudaError_t launch_both(const DecodeAttentionArguments<Element>& arguments, cudaStream_t stream) {
  const cudaError_t status =
      launch(decode_attention_kernel<Element, head_dim>, decode_attention_geometry(arguments), arguments, stream);
  if (status != cudaSuccess) return status;
  return launch(combine_splits_kernel<Element, head_dim>, combine_splits_geometry(arguments), arguments, stream);
}

template <class Element>
cudaError_t launch_checked(const DecodeAttentionArguments<Element>& arguments, cudaStream_t stream) {
  if (decode_attention_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  return arguments.head_dim == 64 ? launch_both<Element, 64>(arguments, stream)
                                  : launch_both<Element, 128>(arguments, stream);
}

}  // namespace

cudaError_t launch_decode_attention(const DecodeAttentionArguments<Bf16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}
cudaError_t launch_decode_attention(const DecodeAttentionArguments<Fp16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}

}  // namespace lisa::cuda
