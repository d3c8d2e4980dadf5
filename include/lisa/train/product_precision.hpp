#pragma once

#include <ATen/Context.h>

namespace lisa {

/// Whether a CPU may round the operands of fp32 matrix products to bf16; sums stay fp32. Where it has such products
/// (avx512_bf16, AMX) a small model trains half as fast again, with less exact gradients; elsewhere nothing changes.
/// libtorch keeps this setting for the whole process, so a program decides it once.
inline void allow_bf16_products(bool allowed) {
  at::globalContext().setFloat32Precision(at::Float32Backend::MKLDNN, at::Float32Op::MATMUL,
                                          allowed ? at::Float32Precision::BF16 : at::Float32Precision::IEEE);
}

}  // namespace lisa
