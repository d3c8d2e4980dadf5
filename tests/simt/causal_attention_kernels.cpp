#include "causal_attention_kernels.hpp"

#include "device.hpp"

namespace simt {

using lisa::cuda::Bf16;
using lisa::cuda::CausalAttentionArguments;
using lisa::cuda::CausalAttentionGradientArguments;
using lisa::cuda::DecodeAttentionArguments;
using lisa::cuda::Fp16;

template <class Element, int head_dim>
void causal_attention(const CausalAttentionArguments<Element>& arguments) {
  lisa::cuda::causal_attention<Device, Element, head_dim>(arguments);
}

template <class Element, int head_dim>
void query_terms(const CausalAttentionGradientArguments<Element>& arguments) {
  lisa::cuda::query_terms<Device, Element, head_dim>(arguments);
}

template <class Element, int head_dim>
void query_gradient(const CausalAttentionGradientArguments<Element>& arguments) {
  lisa::cuda::query_gradient<Device, Element, head_dim>(arguments);
}

template <class Element, int head_dim>
void key_gradient(const CausalAttentionGradientArguments<Element>& arguments) {
  lisa::cuda::key_gradient<Device, Element, head_dim>(arguments);
}

template <class Element, int head_dim>
void decode_attention(const DecodeAttentionArguments<Element>& arguments) {
  lisa::cuda::decode_attention<Device, Element, head_dim>(arguments);
}

template <class Element, int head_dim>
void combine_splits(const DecodeAttentionArguments<Element>& arguments) {
  lisa::cuda::combine_splits<Device, Element, head_dim>(arguments);
}

template void causal_attention<Bf16, 64>(const CausalAttentionArguments<Bf16>&);
template void causal_attention<Bf16, 128>(const CausalAttentionArguments<Bf16>&);
template void causal_attention<Fp16, 64>(const CausalAttentionArguments<Fp16>&);
template void causal_attention<Fp16, 128>(const CausalAttentionArguments<Fp16>&);
template void query_terms<Bf16, 64>(const CausalAttentionGradientArguments<Bf16>&);
template void query_terms<Bf16, 128>(const CausalAttentionGradientArguments<Bf16>&);
template void query_terms<Fp16, 64>(const CausalAttentionGradientArguments<Fp16>&);
template void query_terms<Fp16, 128>(const CausalAttentionGradientArguments<Fp16>&);
template void query_gradient<Bf16, 64>(const CausalAttentionGradientArguments<Bf16>&);
template void query_gradient<Bf16, 128>(const CausalAttentionGradientArguments<Bf16>&);
template void query_gradient<Fp16, 64>(const CausalAttentionGradientArguments<Fp16>&);
template void query_gradient<Fp16, 128>(const CausalAttentionGradientArguments<Fp16>&);
template void key_gradient<Bf16, 64>(const CausalAttentionGradientArguments<Bf16>&);
template void key_gradient<Bf16, 128>(const CausalAttentionGradientArguments<Bf16>&);
template void key_gradient<Fp16, 64>(const CausalAttentionGradientArguments<Fp16>&);
template void key_gradient<Fp16, 128>(const CausalAttentionGradientArguments<Fp16>&);
template void decode_attention<Bf16, 64>(const DecodeAttentionArguments<Bf16>&);
template void decode_attention<Bf16, 128>(const DecodeAttentionArguments<Bf16>&);
template void decode_attention<Fp16, 64>(const DecodeAttentionArguments<Fp16>&);
template void decode_attention<Fp16, 128>(const DecodeAttentionArguments<Fp16>&);
template void combine_splits<Bf16, 64>(const DecodeAttentionArguments<Bf16>&);
template void combine_splits<Bf16, 128>(const DecodeAttentionArguments<Bf16>&);
template void combine_splits<Fp16, 64>(const DecodeAttentionArguments<Fp16>&);
template void combine_splits<Fp16, 128>(const DecodeAttentionArguments<Fp16>&);

}  // namespace simt
