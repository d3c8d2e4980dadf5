#pragma once

// CUDA graphs, where lisa::cuda is linked; see gpu/kernels.hpp for its definition LISA_CUDA.

#include <c10/core/Device.h>

#include <functional>
#include <optional>
#include <utility>

#if defined(LISA_CUDA)
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/Event.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace lisa::gpu {

#if defined(LISA_CUDA)

/// A CUDA graph of work that is run again and again.
class GraphRecording {
 public:
  explicit GraphRecording(c10::Device device)
      : device_(device), stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())) {}
  GraphRecording(const GraphRecording&) = delete;
  GraphRecording& operator=(const GraphRecording&) = delete;
  /// Waits for the last replay: the graph's memory goes with it.
  ~GraphRecording() {
    if (recorded_) static_cast<void>(cudaStreamSynchronize(stream_.stream()));
  }

  /// Queues `work` on the current stream.
  void run(const std::function<void()>& work) {
    const c10::cuda::CUDAGuard guard(device_);
    if (!recorded_) {
      wait(stream_, current());
      const c10::cuda::CUDAStreamGuard on_stream(stream_);  // the default stream cannot be recorded
      if (std::exchange(warm_, true))
        record(work);
      else
        work();
    }
    if (recorded_) {
      graph_.replay();
      wait(stream_, current());
    } else {
      wait(current(), stream_);
    }
  }

 private:
  [[nodiscard]] c10::cuda::CUDAStream current() const { return c10::cuda::getCurrentCUDAStream(device_.index()); }

  static void wait(const c10::cuda::CUDAStream& waiting, const c10::cuda::CUDAStream& awaited) {
    c10::Event reached(c10::DeviceType::CUDA);
    reached.record(awaited.unwrap());
    reached.block(waiting.unwrap());
  }

  void record(const std::function<void()>& work) {
    // Other threads may allocate meanwhile: only this one's calls are restricted.
    graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      end_quietly();
      throw;
    }
    graph_.capture_end();
    recorded_ = true;
  }

  /// A stream must not be left recording; what went wrong is told by the error under way.
  void end_quietly() noexcept {
    try {
      graph_.capture_end();
    } catch (...) {
    }
  }

  c10::Device device_;
  c10::cuda::CUDAStream stream_;  ///< where work is run before and while it is recorded
  at::cuda::CUDAGraph graph_;
  bool warm_ = false, recorded_ = false;
};

#else

/// Without CUDA graphs work is run as it is.
class GraphRecording {
 public:
  explicit GraphRecording(c10::Device /*device*/) {}
  void run(const std::function<void()>& work) { work(); }
};

#endif

/// Work on the same memory time after time, without anything that waits for it or reads what it computes. On a GPU
/// the first call runs it, which loads kernels and fills the allocator's caches; the second records it as a CUDA graph,
/// and from then on a call is one launch. Tensors that the recorded call has left behind are those that later calls
/// write. On a CPU, and without lisa::cuda, each call runs it.
class RecordedWork {
 public:
  RecordedWork(c10::Device device, std::function<void()> work) : work_(std::move(work)) {
    if (device.is_cuda()) recording_.emplace(device);
  }

  /// Queues the work on the current stream.
  void run() {
    if (recording_)
      recording_->run(work_);
    else
      work_();
  }

 private:
  std::function<void()> work_;
  std::optional<GraphRecording> recording_;
};

}  // namespace lisa::gpu
