#include "image_kernels.hpp"

#include "device.hpp"

namespace simt {

using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using lisa::cuda::ImagePlanesArguments;

void resize_columns(const lisa::cuda::ResizeColumnsArguments& arguments) {
  lisa::cuda::resize_columns<Device>(arguments);
}

template <class Element>
void image_planes(const ImagePlanesArguments<Element>& arguments) {
  lisa::cuda::image_planes<Device, Element>(arguments);
}

template void image_planes<float>(const ImagePlanesArguments<float>&);
template void image_planes<Bf16>(const ImagePlanesArguments<Bf16>&);
template void image_planes<Fp16>(const ImagePlanesArguments<Fp16>&);

}  // namespace simt
