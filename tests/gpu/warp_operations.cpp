#include <string>

#include "lisa/base/error.hpp"
#include "tests/gpu/checks.hpp"
#include "tests/gpu/warp_vectors.hpp"
#include "warp_recording.hpp"

namespace lisa::gpu_test {
namespace {

void require(cudaError_t status) {
  if (status != cudaSuccess) throw IoError("", "warp operations", cudaGetErrorString(status));
}

/// The current device, as a recording names it.
std::string device_name() {
  int device = 0;
  cudaDeviceProp properties{};
  require(cudaGetDevice(&device));
  require(cudaGetDeviceProperties(&properties, device));
  return std::string(properties.name) + ", compute capability " + std::to_string(properties.major) + "." +
         std::to_string(properties.minor);
}

}  // namespace

void check_warp_operations(Checks& checks, const std::string& record) {
  simt::WarpRecording recording = simt::random_operands();
  recording.origin = device_name();
  require(run_warp_operations(recording.in, recording.out));
  for (const simt::WarpDifference& difference : simt::differences(recording)) {
    if (difference.bound == 0)
      checks.equal(difference.operation, difference.agrees());
    else
      checks.within(difference.operation, difference.error, difference.bound);
  }
  if (!record.empty()) simt::write_recording(record, recording);
}

}  // namespace lisa::gpu_test
