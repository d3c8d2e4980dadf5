// The CUDA kernels beside ATen's operators, on a GPU: ./dev gpu-bench
#include <c10/core/InferenceMode.h>
#include <torch/headeronly/version.h>

#include <cstdio>
#include <exception>

#include "bench/gpu/timing.hpp"
#include "lisa/gpu/require_device.hpp"

int main() {
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
    lisa::gpu_bench::bench_relative_attention();
    lisa::gpu_bench::bench_mask_upsampling();
    lisa::gpu_bench::bench_rms_norm();
    lisa::gpu_bench::bench_gemv();
    lisa::gpu_bench::bench_causal_attention();
    lisa::gpu_bench::bench_image_preprocess();
    lisa::gpu_bench::bench_decoding();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "GPU benches stopped: %s\n", error.what());
    return 1;
  }
}
