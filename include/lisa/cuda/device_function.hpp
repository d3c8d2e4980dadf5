#pragma once

/// Marks the functions that a kernel consists of: device code for nvcc, ordinary inline functions for a host compiler. The
/// only macro of the kernels, because an execution space can be named in no other way.
#if defined(__CUDACC__)
#define LISA_DEVICE __device__ __forceinline__
#else
#define LISA_DEVICE inline
#endif
