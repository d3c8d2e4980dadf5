#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/host_ring.hpp"
#include "lisa/gpu/recorded_work.hpp"
#include "lisa/llm/greedy_tokens.hpp"
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
/// which a GPU records once as one CUDA graph; nothing in it waits, reads on the host or depends on a size. What steps
/// come to is left in a ring of slots, their choices on the way to the host, which may queue further steps before it
/// looks: steps behind the end do nothing to the sequence.
/// @tparam Backbone `DecodesInPlace`
template <class Backbone>
class DecodeStep {
 public:
  /// What a step computes.
  struct Found {
    at::Tensor hidden;  ///< [1, hidden], the state behind the token that was run
    at::Tensor logits;  ///< [1, vocab]
    dim slot = 0;       ///< see `choice`
  };

  /// What a step decides.
  struct Choice {
    std::int64_t token = 0;  ///< -1 where no logit is finite
    bool goes_on = false;    ///< whether the answer does
  };

  /// @param cache      holds at least one position; takes storage for its limit, and is not advanced by steps
  /// @param device     of the model
  /// @param end_token  ends an answer
  /// @param slots      steps whose results are held: as many as may be queued before the host looks, > 0
  DecodeStep(const Backbone& llm, KvCache& cache, c10::Device device, std::int64_t end_token, dim slots = 1)
      : llm_(llm),
        place_{&cache, DecodePosition(device)},
        token_(aten::zeros({1}, at::TensorOptions().dtype(at::kLong).device(device))),
        running_(aten::ones({1}, token_.options())),
        end_token_(end_token),
        slots_(slots),
        choices_(device, slots, /*numbers=*/2),
        work_(device, [this] { step(); }) {
    cache.reserve_limit();
    storage_ = cache.addresses();
  }
  DecodeStep(const DecodeStep&) = delete;
  DecodeStep& operator=(const DecodeStep&) = delete;

  /// Whether what was recorded is right for an answer in `cache`, whose storage is at its limit.
  [[nodiscard]] bool fits(const Backbone& llm, const KvCache& cache, std::int64_t end_token) const {
    return &llm == &llm_ && end_token == end_token_ && cache.addresses() == storage_;
  }

  /// Takes the place of the cache before, with the same storage, which may have moved as an object.
  void attach(KvCache& cache) { place_.cache = &cache; }

  /// The next step runs `token` behind the positions that the cache holds; the steps after it go on by themselves.
  void start(std::int64_t token) {
    token_.fill_(token);
    running_.fill_(1);
    place_.position.set(place_.cache->length());
  }

  /// Queues a step: the token at hand is run, the largest of its logits, the lowest id among equals, is the next one.
  /// The position must be below the cache's limit.
  /// @param keep  whether state and logits are copies, which stay as they are. Else the state stays until as many steps
  ///              as there are slots have been queued behind it, the logits until the next one
  [[nodiscard]] Found run(bool keep) {
    work_.run();
    const dim slot = std::exchange(next_slot_, (next_slot_ + 1) % slots_);
    choices_.send(slot, choice_);
    if (keep) return {hidden_.clone(), logits_.clone(), slot};
    if (!states_.defined()) states_ = aten::empty({slots_, hidden_.size(1)}, hidden_.options());
    const at::Tensor state = states_.narrow(0, slot, 1);
    state.copy_(hidden_);
    return {state, logits_, slot};
  }

  /// What the step in a slot decided, once it has; before the slot's next step is queued.
  [[nodiscard]] Choice choice(dim slot) const {
    const auto numbers = choices_.wait(slot);
    return {numbers[0], numbers[1] != 0};
  }

 private:
  void step() {
    hidden_ = llm_.forward(llm_.embed(token_), place_);
    logits_ = llm_.logits(hidden_);
    place_.position.advance(running_);
    const at::Tensor token = greedy_tokens(logits_);  // [1]
    running_.mul_(token.ge(0).logical_and(token.ne(end_token_)));
    token_.copy_(token.clamp_min(0));  // behind the end any token will do, of those there are
    choice_ = aten::cat({token, running_});
  }

  const Backbone& llm_;
  DecodePlace place_;
  at::Tensor token_;    // int64 [1], run by the next step
  at::Tensor running_;  // int64 [1], 1 until the answer has ended
  std::int64_t end_token_;
  dim slots_, next_slot_ = 0;
  gpu::HostRing choices_;
  at::Tensor states_;                    // [slots, hidden]
  at::Tensor hidden_, logits_, choice_;  // of the last step
  std::vector<const void*> storage_;     // of the cache
  gpu::RecordedWork work_;
};

/// The steps of a model between answers: what one answer has recorded serves the next one that goes on in the same
/// storage.
template <class Backbone>
class KeptDecodeStep {
 public:
  /// The step for an answer in `cache`, which then has storage for its limit; valid until the next call.
  /// @param slots  see `DecodeStep`; the same in each call
  [[nodiscard]] DecodeStep<Backbone>& for_answer(const Backbone& llm, KvCache& cache, c10::Device device,
                                                 std::int64_t end_token, dim slots) {
    cache.reserve_limit();
    if (step_ && step_->fits(llm, cache, end_token))
      step_->attach(cache);
    else
      step_ = std::make_unique<DecodeStep<Backbone>>(llm, cache, device, end_token, slots);
    return *step_;
  }

 private:
  std::unique_ptr<DecodeStep<Backbone>> step_;
};

}  // namespace lisa
