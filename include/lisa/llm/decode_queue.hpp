#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "lisa/config/dim.hpp"
#include "lisa/llm/decode_step.hpp"
#include "lisa/llm/kv_cache.hpp"
#include "lisa/llm/sampling.hpp"

namespace lisa {

/// The steps of one greedy answer as the host sees them, one by one, while the device may be further: where nobody
/// looks at logits before the next step, one is queued ahead, so that the device never waits for the host.
template <class Backbone>
class DecodeQueue {
 public:
  /// Steps on the device that the host has not looked at, and slots that a queue's `DecodeStep` needs.
  static constexpr dim most_queued = 2;

  /// What a step came to.
  struct Step {
    at::Tensor hidden;       ///< [1, hidden], the state behind the token that was run
    at::Tensor logits;       ///< [1, vocab]; undefined unless they are wanted
    std::int64_t token = 0;  ///< chosen from them
  };

  /// @param cache          holds at least one position; is advanced step by step
  /// @param step           in that cache, with `most_queued` slots; nobody else uses it meanwhile
  /// @param logits_wanted  whether a step's logits are looked at. State and logits are then copies; else a state is
  ///                       overwritten by the second call of `next` behind it
  DecodeQueue(KvCache& cache, DecodeStep<Backbone>& step, bool logits_wanted)
      : cache_(cache), step_(step), logits_wanted_(logits_wanted) {}

  /// Runs `token` as the sequence's next position. @throws InputError when the cache is full, or no logit is finite
  [[nodiscard]] Step next(std::int64_t token) {
    cache_.require_room(1);
    if (token != expected_) {
      queued_.clear();  // what was queued goes on from another token
      step_.start(token);
    }
    // Copies are made where somebody looks at them, not ahead of that.
    const dim wanted = std::min(logits_wanted_ ? 1 : most_queued, cache_.limit() - cache_.length());
    while (static_cast<dim>(queued_.size()) < wanted) queued_.push_back(step_.run(logits_wanted_));
    const auto found = std::move(queued_.front());
    queued_.pop_front();
    const auto choice = step_.choice(found.slot);
    cache_.advance(1);
    if (choice.token < 0) refuse_logits("infinity or no number");
    expected_ = choice.goes_on ? std::optional(choice.token) : std::nullopt;
    return {found.hidden, logits_wanted_ ? found.logits : at::Tensor(), choice.token};
  }

 private:
  KvCache& cache_;
  DecodeStep<Backbone>& step_;
  bool logits_wanted_;
  std::deque<typename DecodeStep<Backbone>::Found> queued_;  // on the device, not yet told to anybody
  std::optional<std::int64_t> expected_;                     // the token that the device goes on with
};

}  // namespace lisa
