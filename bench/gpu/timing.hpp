#pragma once

#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "bench/gpu/require_close.hpp"
#include "lisa/base/error.hpp"

namespace lisa::gpu_bench {

inline void require(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw IoError("", what, cudaGetErrorString(status));
}

/// A moment on a stream.
class Event {
 public:
  Event() { require(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~Event() { static_cast<void>(cudaEventDestroy(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cudaStream_t stream) { require(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  /// Waits for this moment. @return milliseconds since `begin`
  [[nodiscard]] float since(const Event& begin) const {
    float elapsed = 0;
    require(cudaEventSynchronize(event_), "cudaEventSynchronize");
    require(cudaEventElapsedTime(&elapsed, begin.event_, event_), "cudaEventElapsedTime");
    return elapsed;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Something to be timed, with its name in the table.
struct Contender {
  std::string name;
  std::function<void()> run;  ///< queues its work on the current stream
};

/// Prints median, minimum and maximum of each one's time on the GPU in milliseconds. Contenders take turns, so that
/// clocks and neighbours change for all of them alike.
/// @param each  what a run makes one of, if its rate is to be printed as well: "tokens"
inline void compare_times(const std::string& title, const std::vector<Contender>& contenders, const char* each = "") {
  constexpr int warm_up = 5, rounds = 31;
  std::vector<std::vector<float>> times(contenders.size());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream().stream();
  Event begin, end;
  for (int round = 0; round < warm_up + rounds; ++round)
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      begin.record(stream);
      contenders[i].run();
      end.record(stream);
      const float elapsed = end.since(begin);
      if (round >= warm_up) times[i].push_back(elapsed);
    }
  std::printf("%s\n", title.c_str());
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    std::vector<float>& sorted = times[i];
    std::sort(sorted.begin(), sorted.end());
    std::printf("  %-44s median %9.4f ms, min %9.4f, max %9.4f", contenders[i].name.c_str(), sorted[rounds / 2],
                sorted.front(), sorted.back());
    if (*each != '\0') std::printf("; %.1f %s a second", 1e3 / sorted[rounds / 2], each);
    std::printf("\n");
  }
  std::fflush(stdout);
}

void bench_causal_attention();
void bench_gemv();
void bench_image_preprocess();
void bench_mask_upsampling();
void bench_relative_attention();
void bench_rms_norm();
void bench_decode_attention();
void bench_language_model();
void bench_sam_encoder();

}  // namespace lisa::gpu_bench
