#include "mask_kernels.hpp"

#include "device.hpp"

namespace simt {

using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using lisa::cuda::MaskRounding;
using lisa::cuda::MaskUpsampleArguments;

template <class Element, MaskRounding rounding>
void mask_upsample(const MaskUpsampleArguments<Element>& arguments) {
  lisa::cuda::mask_upsample<Device, Element, rounding>(arguments);
}

template void mask_upsample<float, MaskRounding::composed>(const MaskUpsampleArguments<float>&);
template void mask_upsample<float, MaskRounding::two_step>(const MaskUpsampleArguments<float>&);
template void mask_upsample<Bf16, MaskRounding::composed>(const MaskUpsampleArguments<Bf16>&);
template void mask_upsample<Bf16, MaskRounding::two_step>(const MaskUpsampleArguments<Bf16>&);
template void mask_upsample<Fp16, MaskRounding::composed>(const MaskUpsampleArguments<Fp16>&);
template void mask_upsample<Fp16, MaskRounding::two_step>(const MaskUpsampleArguments<Fp16>&);

}  // namespace simt
