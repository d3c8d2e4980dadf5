#include "decode_attention_kernels.hpp"

#include "device.hpp"

namespace simt {

using lisa::cuda::Bf16;
using lisa::cuda::DecodeAttentionArguments;
using lisa::cuda::Fp16;

template <class Element, int head_dim>
void decode_attention(const DecodeAttentionArguments<Element>& arguments) {
  lisa::cuda::decode_attention<Device, Element, head_dim>(arguments);
}

template <class Element, int head_dim>
void combine_splits(const DecodeAttentionArguments<Element>& arguments) {
  lisa::cuda::combine_splits<Device, Element, head_dim>(arguments);
}

template void decode_attention<Bf16, 64>(const DecodeAttentionArguments<Bf16>&);
template void decode_attention<Bf16, 128>(const DecodeAttentionArguments<Bf16>&);
template void decode_attention<Fp16, 64>(const DecodeAttentionArguments<Fp16>&);
template void decode_attention<Fp16, 128>(const DecodeAttentionArguments<Fp16>&);
template void combine_splits<Bf16, 64>(const DecodeAttentionArguments<Bf16>&);
template void combine_splits<Bf16, 128>(const DecodeAttentionArguments<Bf16>&);
template void combine_splits<Fp16, 64>(const DecodeAttentionArguments<Fp16>&);
template void combine_splits<Fp16, 128>(const DecodeAttentionArguments<Fp16>&);

}  // namespace simt
