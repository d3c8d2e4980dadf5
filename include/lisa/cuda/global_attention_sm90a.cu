#include "lisa/cuda/attention_launchers.cuh"
#include "lisa/cuda/hopper_device.cuh"
#include "lisa/cuda/launch.cuh"
#include "lisa/cuda/tensor_map.cuh"

// Compiled for sm_90a only: what this file is compiled for is what it runs on.

namespace lisa::cuda {

template <class Element, int head_dim>
__global__ void __launch_bounds__(hopper_attention_tile(head_dim).threads())
    global_attention_sm90a_kernel(const __grid_constant__ HopperAttentionArguments<Element, CUtensorMap> arguments) {
  global_attention_sm90a<HopperDevice, Element, head_dim>(arguments);
}

namespace {

template <class Element>
cudaError_t launch_checked(const RelativeAttentionArguments<Element>& arguments, cudaStream_t stream) {
  if (global_attention_refusal(arguments) != nullptr || hopper_attention_refusal(arguments) != nullptr)
    return cudaErrorInvalidValue;
  if (arguments.batch == 0) return cudaSuccess;
  const auto kernel = arguments.head_dim == 64 ? global_attention_sm90a_kernel<Element, 64>
                                               : global_attention_sm90a_kernel<Element, 80>;
  cudaError_t status = cudaSuccess;
  const auto with_maps = hopper_attention_arguments<CUtensorMap>(arguments, [&](const TensorTiles& tiles) {
    CUtensorMap map{};
    if (status == cudaSuccess) status = encode_tensor_map<Element>(tiles, map);
    return map;
  });
  if (status != cudaSuccess) return status;
  return launch(kernel, hopper_attention_geometry(arguments), with_maps, stream);
}

}  // namespace

cudaError_t launch_global_attention_sm90a(const RelativeAttentionArguments<Bf16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}
cudaError_t launch_global_attention_sm90a(const RelativeAttentionArguments<Fp16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}

}  // namespace lisa::cuda
