#include "causal_attention_kernels.hpp"

#include "device.hpp"

namespace simt {

using lisa::cuda::Bf16;
using lisa::cuda::CausalAttentionArguments;
using lisa::cuda::Fp16;

template <class Element, int head_dim>
void causal_attention(const CausalAttentionArguments<Element>& arguments) {
  lisa::cuda::causal_attention<Device, Element, head_dim>(arguments);
}

template void causal_attention<Bf16, 64>(const CausalAttentionArguments<Bf16>&);
template void causal_attention<Bf16, 128>(const CausalAttentionArguments<Bf16>&);
template void causal_attention<Fp16, 64>(const CausalAttentionArguments<Fp16>&);
template void causal_attention<Fp16, 128>(const CausalAttentionArguments<Fp16>&);

}  // namespace simt
