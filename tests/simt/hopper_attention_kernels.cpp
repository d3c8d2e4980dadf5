#include "hopper_attention_kernels.hpp"

namespace simt {

using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using lisa::cuda::HopperAttentionArguments;

template <class Element, int head_dim>
void global_attention_sm90a(const HopperAttentionArguments<Element, TensorMap>& arguments) {
  lisa::cuda::global_attention_sm90a<HopperDevice, Element, head_dim>(arguments);
}

template void global_attention_sm90a<Bf16, 64>(const HopperAttentionArguments<Bf16, TensorMap>&);
template void global_attention_sm90a<Bf16, 80>(const HopperAttentionArguments<Bf16, TensorMap>&);
template void global_attention_sm90a<Fp16, 64>(const HopperAttentionArguments<Fp16, TensorMap>&);
template void global_attention_sm90a<Fp16, 80>(const HopperAttentionArguments<Fp16, TensorMap>&);

}  // namespace simt
