#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/config/spec.hpp"
#include "lisa/llm/kv_cache.hpp"
#include "lisa/llm/llama.hpp"
#include "lisa/llm/sampling.hpp"

namespace lisa {

/// Whether an answer segments.
enum class Segmentation {
  automatic,  ///< the model decides
  forced,     ///< an answer that would end without `[SEG]` ends with one
  off,        ///< `[SEG]` is never chosen: a text answer
};

enum class StopReason { end_token, max_new_tokens, callback, forced_answer };

[[nodiscard]] constexpr std::string_view to_string(StopReason reason) {
  switch (reason) {
    case StopReason::end_token:
      return "end_token";
    case StopReason::max_new_tokens:
      return "max_new_tokens";
    case StopReason::callback:
      return "callback";
    case StopReason::forced_answer:
      return "forced_answer";
  }
  return "";
}

/// One sequence to continue.
struct GenerationRequest {
  KvCache* cache = nullptr;  ///< its own, with the positions already run; the prompt rows continue it
  at::Tensor prompt{};       ///< [T, hidden] embeddings of the rest of the prompt, T >= 1
  SamplingOptions sampling{};
  dim max_new_tokens = 512;  ///< >= 1
  std::int64_t end_token = -1;
  std::int64_t seg_token = -1;
  Segmentation segmentation = Segmentation::automatic;
  std::vector<std::int64_t> forced_answer{};  ///< when not empty, exactly these tokens instead of chosen ones
};

/// A token at the moment it is chosen.
struct GeneratedToken {
  dim index = 0;  ///< in the answer
  std::int64_t token = 0;
  at::Tensor hidden{};  ///< [hidden], the state whose logits chose it
  at::Tensor logits{};  ///< [vocab]
};

/// Calls made while an answer grows; each may be empty. `sequence` is the index of the request.
struct GenerationObserver {
  /// The last hidden states [T, hidden] of the prompt rows that were run.
  std::function<void(std::size_t sequence, const at::Tensor& hidden)> on_prompt{};
  /// Every token as it is chosen; false ends the answer after this token.
  std::function<bool(std::size_t sequence, const GeneratedToken& token)> on_token{};
  /// Every `[SEG]` of the answer, with the hidden state [hidden] that the policy assigns to it, as soon as that exists:
  /// for LISA's policy in the very step that chooses it.
  std::function<void(std::size_t sequence, dim index, const at::Tensor& hidden)> on_seg{};
};

struct GeneratedAnswer {
  std::vector<std::int64_t> tokens;  ///< an end token included
  StopReason stopped_by = StopReason::end_token;
};

/// Throws InputError when a request cannot be continued; every defect is named with the request's number.
inline void validate(const std::vector<GenerationRequest>& requests) {
  Defects defects;
  std::set<const KvCache*> caches;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const GenerationRequest& request = requests[i];
    const auto add = [&](const std::string& defect) { defects.add("request " + std::to_string(i) + ": " + defect); };
    if (request.cache == nullptr || !caches.insert(request.cache).second)
      add("cache: " + found_expected(request.cache == nullptr ? "none" : "that of another request", "one of its own"));
    if (!request.prompt.defined() || request.prompt.dim() != 2 || request.prompt.size(0) < 1)
      add("prompt: " + found_expected("no rows", "[T, hidden] with T >= 1"));
    if (request.max_new_tokens < 1)
      add("max_new_tokens: " + found_expected(std::to_string(request.max_new_tokens), "at least 1"));
    if (request.segmentation == Segmentation::forced && request.seg_token < 0)
      add("seg_token: " + found_expected(std::to_string(request.seg_token), "the id that forced segmentation adds"));
  }
  if (!defects.empty()) throw InputError("generation", defects.report("wrong requests"));
}

namespace detail {

/// The state of `generate`: which sequences still grow and what each has said.
template <class SegPolicy, class Backbone>
class Generation {
 public:
  Generation(const Backbone& llm, const std::vector<GenerationRequest>& requests, const GenerationObserver& observer)
      : llm_(llm), observer_(observer) {
    validate(requests);
    for (std::size_t i = 0; i < requests.size(); ++i)
      voices_.push_back({i, &requests[i], Sampler(requests[i].sampling)});
  }

  std::vector<GeneratedAnswer> run() {
    std::vector<GeneratedAnswer> answers(voices_.size());
    states_ = prefill();
    while (!voices_.empty()) {
      choose_tokens();
      for (Voice& voice : voices_)
        if (voice.done() && !voice.state_wanted) answers[voice.sequence] = std::move(voice.answer);
      keep_growing();
      if (voices_.empty()) break;
      advance();
      for (Voice& voice : voices_)
        if (voice.done()) answers[voice.sequence] = std::move(voice.answer);
      drop_done();
    }
    return answers;
  }

 private:
  struct Voice {
    std::size_t sequence;
    const GenerationRequest* request;
    Sampler sampler;
    GeneratedAnswer answer{};
    bool finished = false;
    bool has_seg = false;
    bool state_wanted = false;  ///< the newest token is a [SEG] whose own state has yet to be computed
    bool end_next = false;

    [[nodiscard]] bool done() const { return finished; }
  };

  /// Runs all prompts as one packed batch and returns the last state of each: [sequences, hidden].
  at::Tensor prefill() {
    std::vector<at::Tensor> prompts;
    std::vector<Segment> segments;
    for (const Voice& voice : voices_) {
      prompts.push_back(voice.request->prompt);
      segments.push_back({voice.request->prompt.size(0), voice.request->cache});
    }
    if (prompts.empty()) return {};
    const at::Tensor hidden = llm_.forward(prompts.size() == 1 ? prompts.front() : at::cat(prompts, 0), segments);
    std::vector<std::int64_t> last_rows;
    dim begin = 0;
    for (std::size_t i = 0; i < segments.size(); ++i) {
      if (observer_.on_prompt) observer_.on_prompt(i, hidden.narrow(0, begin, segments[i].rows));
      begin += segments[i].rows;
      last_rows.push_back(begin - 1);
    }
    return rows(hidden, last_rows);
  }

  void choose_tokens() {
    const at::Tensor logits = llm_.logits(states_);  // [voices, vocab]
    for (std::size_t i = 0; i < voices_.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      take(voices_[i], states_.select(0, row), logits.select(0, row));
    }
  }

  void take(Voice& voice, const at::Tensor& state, const at::Tensor& logits) {
    const GenerationRequest& request = *voice.request;
    const auto index = static_cast<dim>(voice.answer.tokens.size());
    const bool last = index + 1 >= request.max_new_tokens;
    const std::int64_t token = next_token(voice, logits, index, last);
    voice.answer.tokens.push_back(token);
    voice.state_wanted = false;
    if (token == request.seg_token) {
      voice.has_seg = true;
      if constexpr (SegPolicy::offset == -1) {
        if (observer_.on_seg) observer_.on_seg(voice.sequence, index, state);
      } else {
        voice.state_wanted = true;
      }
    }
    const bool go_on = !observer_.on_token || observer_.on_token(voice.sequence, {index, token, state, logits});
    if (!request.forced_answer.empty()) {
      stop_if(voice, index + 1 >= static_cast<dim>(request.forced_answer.size()), StopReason::forced_answer);
    } else {
      stop_if(voice, token == request.end_token, StopReason::end_token);
      stop_if(voice, last, StopReason::max_new_tokens);
    }
    stop_if(voice, !go_on, StopReason::callback);
  }

  static void stop_if(Voice& voice, bool condition, StopReason reason) {
    if (!condition || voice.finished) return;
    voice.finished = true;
    voice.answer.stopped_by = reason;
  }

  std::int64_t next_token(Voice& voice, const at::Tensor& logits, dim index, bool last) const {
    const GenerationRequest& request = *voice.request;
    if (!request.forced_answer.empty()) return forced_token(request, index, logits.size(0));
    if (voice.end_next) return request.end_token;
    at::Tensor allowed = logits;
    if (request.segmentation == Segmentation::off && request.seg_token >= 0) {
      allowed = logits.clone();
      allowed.select(0, request.seg_token).fill_(-std::numeric_limits<double>::infinity());
    }
    const std::int64_t token = voice.sampler.sample(allowed);
    const bool ends = last || token == request.end_token;
    if (request.segmentation == Segmentation::forced && ends && !voice.has_seg) {
      voice.end_next = true;
      return request.seg_token;
    }
    return token;
  }

  static std::int64_t forced_token(const GenerationRequest& request, dim index, dim vocab) {
    const std::int64_t token = request.forced_answer[static_cast<std::size_t>(index)];
    if (token < 0 || token >= vocab)
      throw InputError("forced answer",
                       found_expected("token id " + std::to_string(token), "0 to " + std::to_string(vocab - 1)));
    return token;
  }

  /// Leaves the voices that need another step.
  void keep_growing() {
    std::erase_if(voices_, [](const Voice& voice) { return voice.done() && !voice.state_wanted; });
  }

  void drop_done() {
    std::vector<std::int64_t> kept;
    for (std::size_t i = 0; i < voices_.size(); ++i)
      if (!voices_[i].done()) kept.push_back(static_cast<std::int64_t>(i));
    if (kept.size() < voices_.size()) states_ = rows(states_, kept);
    std::erase_if(voices_, [](const Voice& voice) { return voice.done(); });
  }

  /// Feeds the newest token of every voice and computes the next states.
  void advance() {
    std::vector<std::int64_t> tokens;
    std::vector<Segment> segments;
    for (const Voice& voice : voices_) {
      tokens.push_back(voice.answer.tokens.back());
      segments.push_back({1, voice.request->cache});
    }
    const at::TensorOptions ids = states_.options().dtype(at::kLong);
    states_ = llm_.forward(llm_.embed(at::tensor(tokens, ids)), segments);
    for (std::size_t i = 0; i < voices_.size(); ++i) {
      Voice& voice = voices_[i];
      if (voice.state_wanted && observer_.on_seg)
        observer_.on_seg(voice.sequence, static_cast<dim>(voice.answer.tokens.size()) - 1,
                         states_.select(0, static_cast<std::int64_t>(i)));
      voice.state_wanted = false;
    }
  }

  static at::Tensor rows(const at::Tensor& from, const std::vector<std::int64_t>& which) {
    if (which.empty()) return {};
    return at::index_select(from, 0, at::tensor(which, from.options().dtype(at::kLong)));
  }

  const Backbone& llm_;
  const GenerationObserver& observer_;
  std::vector<Voice> voices_;
  at::Tensor states_;  // [voices, hidden]
};

}  // namespace detail

/// Continues every request until its end token, its token limit or its callback says stop. All sequences share each
/// step's matrix products; a sequence's answer is that of running it alone, up to the rounding of those products.
/// Each token is run once: the last token of an answer is chosen but not run, and its position is not in the cache.
/// @tparam SegPolicy  which hidden state belongs to a `[SEG]`
/// @throws InputError when a request is wrong, a sequence outgrows the model's context or the logits are not finite;
///         the caches then hold the positions of the steps that were complete
template <class SegPolicy, class Backbone>
[[nodiscard]] std::vector<GeneratedAnswer> generate(const Backbone& llm, const std::vector<GenerationRequest>& requests,
                                                    const GenerationObserver& observer = {}) {
  return detail::Generation<SegPolicy, Backbone>(llm, requests, observer).run();
}

}  // namespace lisa
