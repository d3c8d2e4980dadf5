#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <cstdio>
#include <string>

#include "lisa/nn/parameter.hpp"
#include "tests/support/random_parameters.hpp"

// The GPU tests are a program without a test library, so that they build where there is no more than a compiler, nvcc
// and libtorch.

namespace lisa::gpu_test {

/// Counts and prints what was compared.
class Checks {
 public:
  /// @param error what was found; a NaN fails
  void within(const std::string& name, double error, double bound) {
    const bool good = error <= bound;
    std::printf("%s %s: error %.3g, bound %.3g\n", good ? "ok    " : "FAILED", name.c_str(), error, bound);
    ++count_;
    if (!good) ++failed_;
  }
  void equal(const std::string& name, bool same) {
    std::printf("%s %s: %s\n", same ? "ok    " : "FAILED", name.c_str(), same ? "equal" : "different");
    ++count_;
    if (!same) ++failed_;
  }
  [[nodiscard]] int count() const { return count_; }
  [[nodiscard]] int failed() const { return failed_; }

 private:
  int count_ = 0, failed_ = 0;
};

/// Normal numbers that depend on the seed only, on the GPU.
inline at::Tensor random_on_gpu(const Shape& shape, std::uint64_t seed, at::ScalarType dtype = at::kFloat) {
  return test::random_tensor(shape, seed).to(at::kCUDA).to(dtype);
}

void check_causal_attention(Checks& checks);
/// Training's attention, with gradients.
void check_causal_attention_gradient(Checks& checks);
void check_gemv(Checks& checks);
void check_image_preprocess(Checks& checks);
void check_mask_upsampling(Checks& checks);
void check_relative_attention(Checks& checks);
void check_rms_norm(Checks& checks);
/// Attention of one new position.
void check_decode_attention(Checks& checks);
/// Whole steps of decoding as a CUDA graph.
void check_decoding(Checks& checks);
/// Work beside the current stream: uploads, tensors of another stream, copies to the host.
void check_streams(Checks& checks);
/// The warp's operations against the emulator's twins of them. @param record file to write the vectors to, if any
void check_warp_operations(Checks& checks, const std::string& record);

}  // namespace lisa::gpu_test
