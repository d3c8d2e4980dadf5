#pragma once

#include "lisa/cuda/gemv.cuh"

namespace simt {

/// The kernel for the CPU's device policy, as `launch` takes it.
/// @tparam Weights as `GemvArguments::storage` says  @tparam max_rows 1 or 8
template <class Element, class Weights, int max_rows>
void gemv(const lisa::cuda::GemvArguments<Element>& arguments);

}  // namespace simt
