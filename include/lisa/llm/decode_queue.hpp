#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "lisa/llm/decode_step.hpp"
#include "lisa/llm/kv_cache.hpp"
#include "lisa/llm/sampling.hpp"

namespace lisa {

/// The steps of one greedy answer as the host sees them, one by one, while the device may be further: a step that
/// nobody is told about before the next is queued early, so that the device never waits for the host.
template <class Backbone>
class DecodeQueue {
 public:
  /// What a step came to.
  struct Step {
    at::Tensor hidden;       ///< [1, hidden], the state behind the token that was run
    at::Tensor logits;       ///< [1, vocab]
    std::int64_t token = 0;  ///< chosen from them
  };

  /// @param cache          holds at least one position; takes storage for its limit and is advanced step by step
  /// @param states_wanted  whether a step's state and logits are looked at before the next step; without that they are
  ///                       overwritten at any time
  DecodeQueue(const Backbone& llm, KvCache& cache, c10::Device device, std::int64_t end_token, bool states_wanted)
      : cache_(cache), states_wanted_(states_wanted), step_(llm, cache, device, end_token) {}

  /// Runs `token` as the sequence's next position. @throws InputError when the cache is full, or no logit is finite
  [[nodiscard]] Step next(std::int64_t token) {
    cache_.require_room(1);
    if (token != expected_) {
      queued_.clear();  // what was queued goes on from another token
      step_.start(token);
    }
    const std::size_t wanted = states_wanted_ ? 1 : 2;
    const auto room = static_cast<std::size_t>(cache_.limit() - cache_.length());
    while (queued_.size() < std::min(wanted, room)) queued_.push_back(step_.run(states_wanted_));
    const auto found = std::move(queued_.front());
    queued_.pop_front();
    const auto* const choice = found.choice.wait().template const_data_ptr<std::int64_t>();
    cache_.advance(1);
    if (choice[0] < 0) refuse_logits("infinity or no number");
    expected_ = choice[1] != 0 ? std::optional(choice[0]) : std::nullopt;
    return {found.hidden, found.logits, choice[0]};
  }

 private:
  KvCache& cache_;
  bool states_wanted_;
  DecodeStep<Backbone> step_;
  std::deque<typename DecodeStep<Backbone>::Found> queued_;  // on the device, not yet told to anybody
  std::optional<std::int64_t> expected_;                     // the token that the device goes on with
};

}  // namespace lisa
