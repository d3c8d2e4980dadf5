#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <c10/core/InferenceMode.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "lisa/base/error.hpp"
#include "lisa/gpu/require_device.hpp"
#include "lisa/nn/rms_norm.hpp"

static_assert(lisa::gpu::kernels_linked);

// In place of the kernels' own: what must not be reached here.
namespace lisa::cuda {

cudaError_t launch_rms_norm(const RmsNormArguments<Bf16>& /*arguments*/, cudaStream_t /*stream*/) { std::abort(); }
cudaError_t launch_rms_norm(const RmsNormArguments<Fp16>& /*arguments*/, cudaStream_t /*stream*/) { std::abort(); }

}  // namespace lisa::cuda

namespace {

/// An operator that has a kernel, on the CPU, where it must not ask for it.
bool cpu_path_works() {
  const at::Tensor ones = at::ones({2, 64}, at::kBFloat16);
  const lisa::RmsNorm<64> norm{.eps = 1e-6, .weight = at::ones({64}, at::kBFloat16)};
  return at::equal(norm.forward(ones), ones);
}

/// What is said where a GPU is wanted; nothing where there is one.
std::string refusal() {
  try {
    lisa::require_device(c10::DeviceType::CUDA);
  } catch (const lisa::InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

int main() {
  const c10::InferenceMode inference;
  if (!cpu_path_works()) return 1;
  const std::string found = refusal();
  std::printf("my-lisa: the CPU's path works; %s\n", found.empty() ? "there is a GPU" : found.c_str());
  const std::string expected =
      "device: found \"cuda\", expected cpu: no GPU that CUDA can use was found on this machine";
  return found.empty() || found == expected ? 0 : 1;
}
