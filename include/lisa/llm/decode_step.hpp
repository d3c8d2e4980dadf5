#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <cstdint>
#include <limits>

#include "lisa/aten/operators.hpp"
#include "lisa/gpu/host_copy.hpp"
#include "lisa/gpu/recorded_work.hpp"
#include "lisa/llm/kv_cache.hpp"
#include "lisa/llm/llama.hpp"

namespace lisa {

/// A language model that can run a new position of a sequence without reading it on the host.
template <class B>
concept DecodesInPlace = requires(const B& llm, const at::Tensor& x, const DecodePlace& place) {
  { llm.forward(x, place) } -> std::same_as<at::Tensor>;
};

/// Greedy generation of one sequence, step by step, with everything that a step needs from the one before in the
/// device's memory: the token, its position, and whether the answer goes on. A step is thus the same work each time,
/// which a GPU records once as one CUDA graph; nothing in it waits, reads on the host or depends on a size. What a step
/// chooses is sent to the host, which may queue further steps before it looks: steps behind the end do nothing to the
/// sequence.
/// @tparam Backbone `DecodesInPlace`
template <class Backbone>
class DecodeStep {
 public:
  /// What a step computes.
  struct Found {
    at::Tensor hidden;  ///< [1, hidden], the state behind the token that was run
    at::Tensor logits;  ///< [1, vocab]
    /// int64 [2]: the token chosen, -1 where no logit is finite; 1 if the answer goes on, else 0.
    gpu::HostCopy choice;
  };

  /// @param cache      holds at least one position; takes storage for its limit, and is not advanced by steps
  /// @param device     of the model
  /// @param end_token  ends an answer
  DecodeStep(const Backbone& llm, KvCache& cache, c10::Device device, std::int64_t end_token)
      : llm_(llm),
        place_{&cache, DecodePosition(device)},
        token_(aten::zeros({1}, at::TensorOptions().dtype(at::kLong).device(device))),
        running_(aten::ones({1}, token_.options())),
        end_token_(end_token),
        work_(device, [this] { step(); }) {
    cache.reserve_limit();
  }
  DecodeStep(const DecodeStep&) = delete;
  DecodeStep& operator=(const DecodeStep&) = delete;

  /// The next step runs `token` behind the positions that the cache holds; the steps after it go on by themselves.
  void start(std::int64_t token) {
    token_.fill_(token);
    running_.fill_(1);
    place_.position.set(place_.cache->length());
  }

  /// Queues a step: the token at hand is run, the largest of its logits, the lowest id among equals, is the next one.
  /// The position must be below the cache's limit.
  /// @param keep  whether state and logits stay as they are when the next step runs
  [[nodiscard]] Found run(bool keep) {
    work_.run();
    return {keep ? hidden_.clone() : hidden_, keep ? logits_.clone() : logits_, gpu::HostCopy(choice_)};
  }

 private:
  void step() {
    hidden_ = llm_.forward(llm_.embed(token_), place_);
    logits_ = llm_.logits(hidden_);
    place_.position.advance(running_);
    const at::Tensor row = logits_[0].to(at::kFloat);
    const at::Tensor numbers = row.masked_fill(row.isnan(), -std::numeric_limits<double>::infinity());
    const auto [largest, token] = numbers.max(0, /*keepdim=*/true);  // both [1]
    const at::Tensor finite = largest.isfinite();
    running_.mul_(finite.logical_and(token.ne(end_token_)));
    token_.copy_(token);
    choice_ = aten::cat({token.masked_fill(finite.logical_not(), -1), running_});
  }

  const Backbone& llm_;
  DecodePlace place_;
  at::Tensor token_;    // int64 [1], run by the next step
  at::Tensor running_;  // int64 [1], 1 until the answer has ended
  std::int64_t end_token_;
  at::Tensor hidden_, logits_, choice_;  // of the last step
  gpu::RecordedWork work_;
};

}  // namespace lisa
