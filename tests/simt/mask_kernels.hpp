#pragma once

#include "lisa/cuda/mask_upsample.cuh"

namespace simt {

// The mask kernel for the CPU's device policy, as `launch` takes it.

template <class Element, lisa::cuda::MaskRounding rounding>
void mask_upsample(const lisa::cuda::MaskUpsampleArguments<Element>& arguments);

}  // namespace simt
