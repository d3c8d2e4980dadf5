#pragma once

#include "hopper_device.hpp"
#include "lisa/cuda/global_attention.cuh"
#include "lisa/cuda/global_attention_sm90a.cuh"

namespace simt {

/// The attention kernel of sm_90a for the CPU's device policy, as `launch` takes it.
template <class Element, int head_dim>
void global_attention_sm90a(const lisa::cuda::HopperAttentionArguments<Element, TensorMap>& arguments);

}  // namespace simt
