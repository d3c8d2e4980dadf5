#include "causal_attention_gradient_kernels.hpp"

#include "device.hpp"

namespace simt {

using lisa::cuda::Bf16;
using lisa::cuda::CausalAttentionGradientArguments;
using lisa::cuda::Fp16;

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

}  // namespace simt
