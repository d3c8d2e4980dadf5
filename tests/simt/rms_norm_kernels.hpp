#pragma once

#include "lisa/cuda/rms_norm.cuh"

namespace simt {

/// The kernel for the CPU's device policy, as `launch` takes it. @tparam chunk 1 or 8
template <class Element, int chunk>
void rms_norm(const lisa::cuda::RmsNormArguments<Element>& arguments);

}  // namespace simt
