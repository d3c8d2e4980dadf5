#include "reference_attention_kernels.hpp"

#include "device.hpp"

namespace simt {

void reference_window_attention(const lisa::cuda::WindowAttentionArguments<float>& arguments) {
  lisa::cuda::reference_window_attention<Device>(arguments);
}

void reference_causal_attention(const lisa::cuda::CausalAttentionArguments<float>& arguments) {
  lisa::cuda::reference_causal_attention<Device>(arguments);
}

}  // namespace simt
