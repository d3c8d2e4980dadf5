#include "lisa/cuda/decode_launchers.cuh"
#include "lisa/cuda/gpu_device.cuh"
#include "lisa/cuda/launch.cuh"

namespace lisa::cuda {

template <class Element, int chunk>
__global__ void __launch_bounds__(512) rms_norm_kernel(const __grid_constant__ RmsNormArguments<Element> arguments) {
  rms_norm<GpuDevice, Element, chunk>(arguments);
}

namespace {

template <class Element>
cudaError_t launch_checked(const RmsNormArguments<Element>& arguments, cudaStream_t stream) {
  if (rms_norm_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  const auto kernel =
      rms_norm_chunk(arguments) == 1 ? rms_norm_kernel<Element, 1> : rms_norm_kernel<Element, vector_elements>;
  return launch(kernel, rms_norm_geometry(arguments), arguments, stream);
}

}  // namespace

cudaError_t launch_rms_norm(const RmsNormArguments<Bf16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}
cudaError_t launch_rms_norm(const RmsNormArguments<Fp16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}

}  // namespace lisa::cuda
