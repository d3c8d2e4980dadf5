#pragma once

#include "lisa/cuda/image_preprocess.cuh"

namespace simt {

// The kernels of image preprocessing for the CPU's device policy, as `launch` takes them.

void resize_columns(const lisa::cuda::ResizeColumnsArguments& arguments);

template <class Element>
void image_planes(const lisa::cuda::ImagePlanesArguments<Element>& arguments);

}  // namespace simt
