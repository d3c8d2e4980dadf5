#include "lisa/cuda/decode_launchers.cuh"
#include "lisa/cuda/gpu_device.cuh"
#include "lisa/cuda/launch.cuh"

namespace lisa::cuda {

template <class Element, class Weights, int max_rows>
__global__ void __launch_bounds__(gemv_warps * 32)
    gemv_kernel(const __grid_constant__ GemvArguments<Element> arguments) {
  gemv<GpuDevice, Element, Weights, max_rows>(arguments);
}

namespace {

template <class Element, class Weights>
cudaError_t launch_with(const GemvArguments<Element>& arguments, cudaStream_t stream) {
  const auto kernel = arguments.rows == 1 ? gemv_kernel<Element, Weights, 1> : gemv_kernel<Element, Weights, 8>;
  return launch(kernel, gemv_geometry(arguments), arguments, stream);
}

template <class Element>
cudaError_t launch_checked(const GemvArguments<Element>& arguments, cudaStream_t stream) {
  if (gemv_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  switch (arguments.storage) {
    case WeightStorage::element:
      return launch_with<Element, ElementWeights<Element>>(arguments, stream);
    case WeightStorage::int8_row:
      return launch_with<Element, Int8Weights>(arguments, stream);
    case WeightStorage::int4_group32:
      return launch_with<Element, Int4Weights<32>>(arguments, stream);
    case WeightStorage::int4_group128:
      return launch_with<Element, Int4Weights<128>>(arguments, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t launch_gemv(const GemvArguments<Bf16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}
cudaError_t launch_gemv(const GemvArguments<Fp16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}

}  // namespace lisa::cuda
