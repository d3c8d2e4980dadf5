#include "rms_norm_kernels.hpp"

#include "device.hpp"

namespace simt {

using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using lisa::cuda::RmsNormArguments;

template <class Element, int chunk>
void rms_norm(const RmsNormArguments<Element>& arguments) {
  lisa::cuda::rms_norm<Device, Element, chunk>(arguments);
}

template void rms_norm<Bf16, 1>(const RmsNormArguments<Bf16>&);
template void rms_norm<Bf16, 8>(const RmsNormArguments<Bf16>&);
template void rms_norm<Fp16, 1>(const RmsNormArguments<Fp16>&);
template void rms_norm<Fp16, 8>(const RmsNormArguments<Fp16>&);

}  // namespace simt
