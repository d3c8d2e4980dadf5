// Runs the CUDA kernels on a GPU against ATen and against the emulator's twins: ./dev gpu-test [--record FILE]
#include <c10/core/InferenceMode.h>

#include <cstdio>
#include <exception>
#include <string>

#include "lisa/gpu/require_device.hpp"
#include "tests/gpu/checks.hpp"

int main(int argc, char** argv) {
  std::string record;
  if (argc == 3 && std::string(argv[1]) == "--record") {
    record = argv[2];
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: test_gpu [--record FILE]\n");
    return 2;
  }
  try {
    lisa::require_device(c10::DeviceType::CUDA);
  } catch (const lisa::Error& error) {
    std::printf("GPU tests skipped: %s\n", error.what());
    return 0;
  }
  try {
    const c10::InferenceMode inference;
    lisa::gpu_test::Checks checks;
    lisa::gpu_test::check_warp_operations(checks, record);
    lisa::gpu_test::check_relative_attention(checks);
    lisa::gpu_test::check_mask_upsampling(checks);
    lisa::gpu_test::check_rms_norm(checks);
    lisa::gpu_test::check_gemv(checks);
    lisa::gpu_test::check_causal_attention(checks);
    lisa::gpu_test::check_causal_attention_gradient(checks);
    lisa::gpu_test::check_image_preprocess(checks);
    lisa::gpu_test::check_decode_attention(checks);
    lisa::gpu_test::check_decoding(checks);
    lisa::gpu_test::check_streams(checks);
    std::printf("%d checks, %d failed\n", checks.count(), checks.failed());
    return checks.failed() == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "GPU tests stopped: %s\n", error.what());
    return 1;
  }
}
