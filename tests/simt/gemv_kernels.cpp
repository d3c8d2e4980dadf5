#include "gemv_kernels.hpp"

#include "device.hpp"

namespace simt {

using lisa::cuda::Bf16;
using lisa::cuda::ElementWeights;
using lisa::cuda::Fp16;
using lisa::cuda::GemvArguments;
using lisa::cuda::Int4Weights;
using lisa::cuda::Int8Weights;

template <class Element, class Weights, int max_rows>
void gemv(const GemvArguments<Element>& arguments) {
  lisa::cuda::gemv<Device, Element, Weights, max_rows>(arguments);
}

template void gemv<Bf16, ElementWeights<Bf16>, 1>(const GemvArguments<Bf16>&);
template void gemv<Bf16, ElementWeights<Bf16>, 8>(const GemvArguments<Bf16>&);
template void gemv<Bf16, Int8Weights, 1>(const GemvArguments<Bf16>&);
template void gemv<Bf16, Int8Weights, 8>(const GemvArguments<Bf16>&);
template void gemv<Bf16, Int4Weights<32>, 1>(const GemvArguments<Bf16>&);
template void gemv<Bf16, Int4Weights<32>, 8>(const GemvArguments<Bf16>&);
template void gemv<Bf16, Int4Weights<128>, 1>(const GemvArguments<Bf16>&);
template void gemv<Bf16, Int4Weights<128>, 8>(const GemvArguments<Bf16>&);
template void gemv<Fp16, ElementWeights<Fp16>, 1>(const GemvArguments<Fp16>&);
template void gemv<Fp16, ElementWeights<Fp16>, 8>(const GemvArguments<Fp16>&);
template void gemv<Fp16, Int8Weights, 1>(const GemvArguments<Fp16>&);
template void gemv<Fp16, Int8Weights, 8>(const GemvArguments<Fp16>&);
template void gemv<Fp16, Int4Weights<32>, 1>(const GemvArguments<Fp16>&);
template void gemv<Fp16, Int4Weights<32>, 8>(const GemvArguments<Fp16>&);
template void gemv<Fp16, Int4Weights<128>, 1>(const GemvArguments<Fp16>&);
template void gemv<Fp16, Int4Weights<128>, 8>(const GemvArguments<Fp16>&);

}  // namespace simt
