#pragma once

/// `LISA_DEVICE` marks the functions that a kernel consists of: device code for nvcc, ordinary inline functions for a
/// host compiler. `LISA_HOST_DEVICE` marks what launchers compute too. The only macros of the kernels, because an
/// execution space can be named in no other way.
#if defined(__CUDACC__)
#define LISA_DEVICE __device__ __forceinline__
#define LISA_HOST_DEVICE __host__ __device__
#else
#define LISA_DEVICE inline
#define LISA_HOST_DEVICE
#endif
