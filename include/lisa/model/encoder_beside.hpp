#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "lisa/aten/thread_count.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/model/prepared_image.hpp"

namespace lisa {

/// The image encoder at work beside the language model on a CPU. A step of the language model waits for memory, which
/// half of the threads keep as busy as all of them nearly do; the image encoder's products wait for nothing, and get
/// the other half. The images belong to the encoder from `make_room` to `pause`.
template <ModelSpec S>
class EncoderBeside {
 public:
  /// @param images  those that will need an embedding, in this order; those that have one are left alone
  EncoderBeside(const Lisa<S>& model, std::vector<PreparedImage*> images) : model_(model), images_(std::move(images)) {}
  ~EncoderBeside() { pause(); }
  EncoderBeside(const EncoderBeside&) = delete;
  EncoderBeside& operator=(const EncoderBeside&) = delete;

  /// Call before a step of the language model: the encoder works from the first call on, and as long as it does, the
  /// calling thread has half of the threads. Does nothing where there is only one.
  void make_room() {
    if (worker_.joinable()) {
      if (idle_) pause();
      return;
    }
    const int threads = at::get_num_threads();
    if (threads < 2 || !work_left()) return;
    const int of_encoder = threads / 2;
    idle_ = false;
    wanted_ = true;
    own_threads_.emplace(threads - of_encoder);
    worker_ = std::thread([this, of_encoder] {
      const aten::ThreadCount share(of_encoder);
      work();
      idle_ = true;
    });
  }

  /// Ends the encoder's work behind the step under way. What has been computed stays with the images, and the calling
  /// thread has all threads again.
  void pause() noexcept {
    if (!worker_.joinable()) return;
    wanted_ = false;
    worker_.join();
    own_threads_.reset();
  }

 private:
  [[nodiscard]] bool work_left() const {
    return !failed_ && std::ranges::any_of(images_, [](const auto* image) { return !image->embedding.defined(); });
  }

  void work() noexcept {
    try {
      for (PreparedImage* const image : images_)
        while (wanted_ && !image->embedding.defined()) encode_further(model_, *image);
    } catch (...) {
      failed_ = true;  // whoever needs the embedding runs the same step, which then fails where it can be told
    }
  }

  const Lisa<S>& model_;
  std::vector<PreparedImage*> images_;
  std::thread worker_;
  std::optional<aten::ThreadCount> own_threads_;
  std::atomic<bool> wanted_ = false;  ///< cleared to end the work
  std::atomic<bool> idle_ = false;    ///< set when the work has ended
  std::atomic<bool> failed_ = false;
};

}  // namespace lisa
