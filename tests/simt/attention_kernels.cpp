#include "attention_kernels.hpp"

#include "device.hpp"

namespace simt {

using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using lisa::cuda::RelativeAttentionArguments;
using lisa::cuda::WindowAttentionArguments;

template <class Element, int head_dim>
void global_attention(const RelativeAttentionArguments<Element>& arguments) {
  lisa::cuda::global_attention<Device, Element, head_dim>(arguments);
}

template <class Element, int head_dim, int side>
void window_attention(const WindowAttentionArguments<Element>& arguments) {
  lisa::cuda::window_attention<Device, Element, head_dim, side>(arguments);
}

template void global_attention<Bf16, 64>(const RelativeAttentionArguments<Bf16>&);
template void global_attention<Bf16, 80>(const RelativeAttentionArguments<Bf16>&);
template void global_attention<Fp16, 64>(const RelativeAttentionArguments<Fp16>&);
template void global_attention<Fp16, 80>(const RelativeAttentionArguments<Fp16>&);
template void window_attention<Bf16, 64, 14>(const WindowAttentionArguments<Bf16>&);
template void window_attention<Bf16, 80, 14>(const WindowAttentionArguments<Bf16>&);
template void window_attention<Fp16, 64, 14>(const WindowAttentionArguments<Fp16>&);
template void window_attention<Fp16, 80, 14>(const WindowAttentionArguments<Fp16>&);
template void window_attention<Bf16, 80, 5>(const WindowAttentionArguments<Bf16>&);

}  // namespace simt
