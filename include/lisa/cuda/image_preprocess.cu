#include "lisa/cuda/gpu_device.cuh"
#include "lisa/cuda/image_launchers.cuh"
#include "lisa/cuda/launch.cuh"

namespace lisa::cuda {

__global__ void __launch_bounds__(picture_threads)
    resize_columns_kernel(const __grid_constant__ ResizeColumnsArguments arguments) {
  resize_columns<GpuDevice>(arguments);
}

template <class Element>
__global__ void __launch_bounds__(picture_threads)
    image_planes_kernel(const __grid_constant__ ImagePlanesArguments<Element> arguments) {
  image_planes<GpuDevice, Element>(arguments);
}

namespace {

template <class Element>
cudaError_t launch_checked(const ImagePlanesArguments<Element>& arguments, cudaStream_t stream) {
  if (image_planes_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  return launch(image_planes_kernel<Element>, image_planes_geometry(arguments), arguments, stream);
}

}  // namespace

cudaError_t launch_resize_columns(const ResizeColumnsArguments& arguments, cudaStream_t stream) {
  if (resize_columns_refusal(arguments) != nullptr) return cudaErrorInvalidValue;
  return launch(resize_columns_kernel, resize_columns_geometry(arguments), arguments, stream);
}

cudaError_t launch_image_planes(const ImagePlanesArguments<float>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}
cudaError_t launch_image_planes(const ImagePlanesArguments<Bf16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}
cudaError_t launch_image_planes(const ImagePlanesArguments<Fp16>& arguments, cudaStream_t stream) {
  return launch_checked(arguments, stream);
}

}  // namespace lisa::cuda
