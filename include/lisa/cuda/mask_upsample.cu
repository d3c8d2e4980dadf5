#include "lisa/cuda/gpu_device.cuh"
#include "lisa/cuda/launch.cuh"
#include "lisa/cuda/mask_launchers.cuh"

namespace lisa::cuda {

// 6 blocks of 4 warps keep a multiprocessor busy; without the number ptxas aims at more and spills for sm_80.
template <class Element, MaskRounding rounding>
__global__ void __launch_bounds__(mask_block_threads, 6)
    mask_upsample_kernel(const __grid_constant__ MaskUpsampleArguments<Element> arguments) {
  mask_upsample<GpuDevice, Element, rounding>(arguments);
}

namespace {

template <class Element>
cudaError_t launch_rounded(const MaskUpsampleArguments<Element>& arguments, MaskRounding rounding,
                           cudaStream_t stream) {
  if (mask_upsample_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  const auto kernel = rounding == MaskRounding::composed ? mask_upsample_kernel<Element, MaskRounding::composed>
                                                         : mask_upsample_kernel<Element, MaskRounding::two_step>;
  return launch(kernel, mask_upsample_geometry(arguments), arguments, stream);
}

}  // namespace

cudaError_t launch_mask_upsample(const MaskUpsampleArguments<float>& arguments, MaskRounding rounding,
                                 cudaStream_t stream) {
  return launch_rounded(arguments, rounding, stream);
}
cudaError_t launch_mask_upsample(const MaskUpsampleArguments<Bf16>& arguments, MaskRounding rounding,
                                 cudaStream_t stream) {
  return launch_rounded(arguments, rounding, stream);
}
cudaError_t launch_mask_upsample(const MaskUpsampleArguments<Fp16>& arguments, MaskRounding rounding,
                                 cudaStream_t stream) {
  return launch_rounded(arguments, rounding, stream);
}

}  // namespace lisa::cuda
