#pragma once

#include "lisa/cuda/mask_run_lengths.cuh"
#include "lisa/cuda/mask_upsample.cuh"

namespace simt {

// The mask kernels for the CPU's device policy, as `launch` takes them.

template <class Element, lisa::cuda::MaskRounding rounding>
void mask_upsample(const lisa::cuda::MaskUpsampleArguments<Element>& arguments);

void mask_run_lengths(const lisa::cuda::MaskRunLengthsArguments& arguments);

}  // namespace simt
