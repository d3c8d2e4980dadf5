// The CUDA kernels, and the models that are made of them, beside ATen's operators on a GPU: ./dev gpu-bench [NAME...]
#include <c10/core/InferenceMode.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <span>
#include <string_view>

#include "bench/gpu/timing.hpp"
#include "lisa/gpu/require_device.hpp"

namespace {

using namespace lisa::gpu_bench;

struct Bench {
  std::string_view name;
  void (*run)();
};

constexpr std::array benches{Bench{"relative_attention", bench_relative_attention},
                             Bench{"mask_upsampling", bench_mask_upsampling},
                             Bench{"rms_norm", bench_rms_norm},
                             Bench{"gemv", bench_gemv},
                             Bench{"causal_attention", bench_causal_attention},
                             Bench{"image_preprocess", bench_image_preprocess},
                             Bench{"decode_attention", bench_decode_attention},
                             Bench{"sam_encoder", bench_sam_encoder},
                             Bench{"language_model", bench_language_model}};

int usage(const char* unknown) {
  std::fprintf(stderr, "bench_gpu: found bench '%s', expected any of", unknown);
  for (const Bench& bench : benches) std::fprintf(stderr, " %s", bench.name.data());
  std::fprintf(stderr, "\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::span<char*> wanted(argv + 1, static_cast<std::size_t>(argc - 1));
  for (const char* const name : wanted)
    if (std::ranges::find(benches, name, &Bench::name) == benches.end()) return usage(name);
  try {
    lisa::require_device(c10::DeviceType::CUDA);
  } catch (const lisa::Error& error) {
    std::printf("GPU benches skipped: %s\n", error.what());
    return 0;
  }
  try {
    const c10::InferenceMode inference;
    cudaDeviceProp properties{};
    lisa::gpu_bench::require(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    std::printf("%s, sm_%d%d, CUDA %d, libtorch %s\n", properties.name, properties.major, properties.minor,
                CUDART_VERSION, TORCH_VERSION);
    for (const Bench& bench : benches)
      if (wanted.empty() || std::ranges::find(wanted, bench.name) != wanted.end()) bench.run();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "GPU benches stopped: %s\n", error.what());
    return 1;
  }
}
