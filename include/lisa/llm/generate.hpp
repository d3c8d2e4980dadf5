#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/config/spec.hpp"
#include "lisa/gpu/kernel_choice.hpp"
#include "lisa/llm/decode_queue.hpp"
#include "lisa/llm/decode_step.hpp"
#include "lisa/llm/draft_tree.hpp"
#include "lisa/llm/greedy_tokens.hpp"
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
  /// Token ids of likely answers, run together with the prompt: as far as the answer agrees with one of them, its
  /// tokens need no step of their own. The answer does not depend on them. Not used when the temperature is not 0, nor
  /// by a backbone without `runs_drafts`.
  std::vector<std::vector<std::int64_t>> drafts{};
};

/// A token at the moment it is chosen.
struct GeneratedToken {
  dim index = 0;  ///< in the answer
  std::int64_t token = 0;
  at::Tensor hidden{};  ///< [hidden], the state whose logits chose it; undefined unless states are wanted
  at::Tensor logits{};  ///< [vocab]; undefined unless states are wanted
};

/// Calls made while an answer grows; each may be empty. `sequence` is the index of the request.
struct GenerationObserver {
  /// The last hidden states [T, hidden] of the prompt rows that were run.
  std::function<void(std::size_t sequence, const at::Tensor& hidden)> on_prompt{};
  /// Every token as it is chosen; false ends the answer after this token.
  std::function<bool(std::size_t sequence, const GeneratedToken& token)> on_token{};
  /// Whether `on_token` is given states and logits, which it may keep. Without that a GPU may be a step further than
  /// what is told.
  bool states_wanted = true;
  /// Every `[SEG]` of the answer, with the hidden state [hidden] that the policy assigns to it, as soon as that exists:
  /// for LISA's policy in the very step that chooses it.
  std::function<void(std::size_t sequence, dim index, const at::Tensor& hidden)> on_seg{};
  /// Before each step of the language model behind the prompts; there is none for a token that a draft has ready.
  std::function<void()> on_step{};
};

struct GeneratedAnswer {
  std::vector<std::int64_t> tokens;  ///< an end token included
  StopReason stopped_by = StopReason::end_token;
  dim drafted_tokens = 0;  ///< tokens whose states a draft had ready, so that they took no step of their own
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

/// Who takes the steps of an answer.
enum class Stepping {
  together,  ///< each step runs the rows of all sequences; the host knows their places and chooses
  in_place,  ///< `DecodeQueue`, for one sequence; the device chooses, behind drafts too
};

/// In place where that says the same in less time: one greedy answer on a GPU, with lisa::cuda.
template <class Backbone>
[[nodiscard]] Stepping choose_stepping(const std::vector<GenerationRequest>& requests) {
  if (!DecodesInPlace<Backbone> || requests.size() != 1) return Stepping::together;
  const GenerationRequest& request = requests.front();
  const bool greedy =
      request.sampling.temperature == 0 && request.forced_answer.empty() && request.segmentation != Segmentation::off;
  return greedy && gpu::kernels_apply({gpu::kernel_operand(request.prompt)}) ? Stepping::in_place : Stepping::together;
}

/// The state of `generate`: which sequences still grow and what each has said.
template <class SegPolicy, class Backbone>
class Generation {
 public:
  /// @param stepping  `in_place` only for what `choose_stepping` would take on a GPU
  /// @param kept      steps of earlier answers, which outlive this; nullptr where there are none
  Generation(const Backbone& llm, const std::vector<GenerationRequest>& requests, const GenerationObserver& observer,
             Stepping stepping, KeptDecodeStep<Backbone>* kept = nullptr)
      : llm_(llm), observer_(observer), stepping_(stepping), kept_(kept == nullptr ? &own_steps_ : kept) {
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
  /// What a device has chosen beforehand.
  struct Chosen {
    at::Tensor logits;   // [1, vocab]; undefined where nobody wants them
    std::int64_t token;  // -1 where no logit is finite
  };

  /// Likely answers that were run behind a prompt, and how far the answer has followed them.
  struct Draft {
    DraftTree tree{};
    DraftRows rows{};
    dim begin = 0;        ///< place of the first node's row in the cache
    at::Tensor states{};  // [nodes, hidden]
    dim node = DraftTree::root;
    /// Where the device has chosen beforehand: what follows the prompt, and each node.
    at::Tensor logits{};                 // [1 + nodes, vocab]
    std::vector<std::int64_t> chosen{};  // [1 + nodes]; -1 where no logit is finite

    /// Follows the answer's next token: its node, or nothing for good once the answer differs from all drafts.
    std::optional<dim> follow(std::int64_t token) {
      const std::optional<dim> next = tree.child(node, token);
      if (next)
        node = *next;
      else
        tree = DraftTree();
      return next;
    }

    /// What follows the place at hand, if that has been chosen.
    [[nodiscard]] std::optional<Chosen> choice() const {
      if (chosen.empty()) return std::nullopt;
      return Chosen{logits.narrow(0, node + 1, 1), chosen[static_cast<std::size_t>(node + 1)]};
    }
  };

  struct Voice {
    std::size_t sequence;
    const GenerationRequest* request;
    Sampler sampler;
    GeneratedAnswer answer{};
    bool finished = false;
    bool has_seg = false;
    bool state_wanted = false;  ///< the newest token is a [SEG] whose own state has yet to be computed
    bool end_next = false;
    Draft draft{};

    [[nodiscard]] bool done() const { return finished; }
  };

  /// Runs all prompts, and their drafts behind them, as one packed batch and returns the last state of each prompt:
  /// [sequences, hidden].
  at::Tensor prefill() {
    std::vector<at::Tensor> parts;
    std::vector<Segment> segments;
    for (Voice& voice : voices_) {
      const GenerationRequest& request = *voice.request;
      parts.push_back(request.prompt);
      voice.draft = draft_of(request);
      if (voice.draft.rows.count > 0) parts.push_back(llm_.embed(ids(voice.draft.tree.tokens())));
      segments.push_back({request.prompt.size(0) + voice.draft.rows.count, request.cache, &voice.draft.rows});
    }
    if (parts.empty()) return {};
    const at::Tensor hidden = llm_.forward(parts.size() == 1 ? parts.front() : aten::cat(parts, 0), segments);
    std::vector<std::int64_t> last_rows;
    dim begin = 0;
    for (Voice& voice : voices_) {
      const dim own = voice.request->prompt.size(0), drafted = voice.draft.rows.count;
      if (observer_.on_prompt) observer_.on_prompt(voice.sequence, hidden.narrow(0, begin, own));
      last_rows.push_back(begin + own - 1);
      voice.draft.states = hidden.narrow(0, begin + own, drafted);
      if (stepping_ == Stepping::in_place) choose_behind(voice.draft, hidden.narrow(0, begin + own - 1, 1 + drafted));
      begin += own + drafted;
    }
    return rows(hidden, last_rows);
  }

  /// Has the device choose what follows the prompt and every node of its drafts, by one product; the host looks once.
  /// @param states [1 + nodes, hidden]
  void choose_behind(Draft& draft, const at::Tensor& states) {
    draft.logits = llm_.logits(states);
    const at::Tensor tokens = greedy_tokens(draft.logits).to(at::kCPU);
    const auto* const first = tokens.template const_data_ptr<std::int64_t>();
    draft.chosen.assign(first, first + tokens.numel());
    chosen_ = draft.choice();
  }

  /// The drafts that a request can use, in so far as the context has room for them behind its prompt.
  static Draft draft_of(const GenerationRequest& request) {
    if constexpr (requires { requires Backbone::runs_drafts; }) {
      const dim begin = request.cache->length() + request.prompt.size(0);
      const dim room = std::max<dim>(request.cache->limit() - begin, 0);
      DraftTree tree = request.sampling.temperature == 0
                           ? DraftTree(request.drafts, request.end_token, request.max_new_tokens - 1, room)
                           : DraftTree();
      if (tree.size() == 0) return {};
      DraftRows rows = draft_rows(tree, request.prompt.options());
      return {.tree = std::move(tree), .rows = std::move(rows), .begin = begin};
    }
    return {};
  }

  void choose_tokens() {
    const std::optional<Chosen> chosen = std::exchange(chosen_, std::nullopt);
    const at::Tensor logits = chosen ? chosen->logits : llm_.logits(states_);  // [voices, vocab]
    for (std::size_t i = 0; i < voices_.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      take(voices_[i], states_.select(0, row), logits.defined() ? logits.select(0, row) : logits,
           chosen ? std::optional(chosen->token) : std::nullopt);
    }
  }

  /// @param largest  the token of the largest logit, if it is known
  void take(Voice& voice, const at::Tensor& state, const at::Tensor& logits, std::optional<std::int64_t> largest) {
    const GenerationRequest& request = *voice.request;
    const auto index = static_cast<dim>(voice.answer.tokens.size());
    const bool last = index + 1 >= request.max_new_tokens;
    const std::int64_t token = next_token(voice, logits, largest, index, last);
    voice.answer.tokens.push_back(token);
    voice.state_wanted = false;
    if (token == request.seg_token) {
      voice.has_seg = true;
      if constexpr (SegPolicy::offset == -1) {
        if (observer_.on_seg) observer_.on_seg(voice.sequence, index, to_keep(state));
      } else {
        voice.state_wanted = true;
      }
    }
    const bool go_on = tell(voice, {index, token, state, logits});
    if (!request.forced_answer.empty()) {
      stop_if(voice, index + 1 >= static_cast<dim>(request.forced_answer.size()), StopReason::forced_answer);
    } else {
      stop_if(voice, token == request.end_token, StopReason::end_token);
      stop_if(voice, last, StopReason::max_new_tokens);
    }
    stop_if(voice, !go_on, StopReason::callback);
  }

  [[nodiscard]] bool tell(const Voice& voice, const GeneratedToken& token) const {
    if (!observer_.on_token) return true;
    return observer_.on_token(voice.sequence,
                              observer_.states_wanted ? token : GeneratedToken{token.index, token.token});
  }

  /// A state that an observer may keep: those of steps in place are overwritten by later steps.
  [[nodiscard]] at::Tensor to_keep(const at::Tensor& state) const { return in_place_ ? state.clone() : state; }

  static void stop_if(Voice& voice, bool condition, StopReason reason) {
    if (!condition || voice.finished) return;
    voice.finished = true;
    voice.answer.stopped_by = reason;
  }

  std::int64_t next_token(Voice& voice, const at::Tensor& logits, std::optional<std::int64_t> largest, dim index,
                          bool last) const {
    const GenerationRequest& request = *voice.request;
    if (!request.forced_answer.empty()) return forced_token(request, index, logits.size(0));
    if (voice.end_next) return request.end_token;
    at::Tensor allowed = logits;
    if (request.segmentation == Segmentation::off && request.seg_token >= 0) {
      allowed = logits.clone();
      allowed.select(0, request.seg_token).fill_(-std::numeric_limits<double>::infinity());
    }
    if (largest && *largest < 0) refuse_logits("infinity or no number");
    const std::int64_t token = largest ? *largest : voice.sampler.sample(allowed);
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

  /// Computes the states behind the newest token of every voice.
  void advance() {
    std::vector<at::Tensor> states(voices_.size());
    std::vector<std::size_t> stepping;  // voices whose state no draft has ready
    for (std::size_t i = 0; i < voices_.size(); ++i) {
      states[i] = drafted_state(voices_[i]);
      if (!states[i].defined()) stepping.push_back(i);
    }
    if (!stepping.empty()) {
      const at::Tensor stepped = step(stepping);
      for (std::size_t row = 0; row < stepping.size(); ++row)
        states[stepping[row]] = stepped.select(0, static_cast<std::int64_t>(row));
    }
    states_ = states.size() == 1 ? states.front().unsqueeze(0) : aten::stack(states);
    for (std::size_t i = 0; i < voices_.size(); ++i) {
      Voice& voice = voices_[i];
      if (voice.state_wanted && observer_.on_seg)
        observer_.on_seg(voice.sequence, static_cast<dim>(voice.answer.tokens.size()) - 1,
                         to_keep(states_.select(0, static_cast<std::int64_t>(i))));
      voice.state_wanted = false;
    }
  }

  /// The state [hidden] behind a voice's newest token if a draft has it ready; its row then joins the cache.
  at::Tensor drafted_state(Voice& voice) {
    const std::optional<dim> node = voice.draft.follow(voice.answer.tokens.back());
    if (!node) return {};
    // A node's place is never in front of its depth, so that no row is overwritten before its turn.
    voice.request->cache->adopt(voice.draft.begin + *node);
    ++voice.answer.drafted_tokens;
    chosen_ = voice.draft.choice();
    return voice.draft.states[*node];
  }

  /// Feeds the newest token of the given voices: [which, hidden].
  at::Tensor step(const std::vector<std::size_t>& which) {
    if (observer_.on_step) observer_.on_step();
    if constexpr (DecodesInPlace<Backbone>)
      if (stepping_ == Stepping::in_place) return step_in_place(voices_.front());
    std::vector<std::int64_t> tokens;
    std::vector<Segment> segments;
    for (const std::size_t i : which) {
      tokens.push_back(voices_[i].answer.tokens.back());
      segments.push_back({1, voices_[i].request->cache});
    }
    return llm_.forward(llm_.embed(ids(tokens)), segments);
  }

  /// The same for the only voice, with the device's own choice of what comes next.
  at::Tensor step_in_place(const Voice& voice) {
    using Queue = DecodeQueue<Backbone>;
    const GenerationRequest& request = *voice.request;
    if (!in_place_)
      in_place_.emplace(
          *request.cache,
          kept_->for_answer(llm_, *request.cache, request.prompt.device(), request.end_token, Queue::most_queued),
          observer_.on_token && observer_.states_wanted);
    const auto step = in_place_->next(voice.answer.tokens.back());
    chosen_ = Chosen{step.logits, step.token};
    return step.hidden;
  }

  /// int64 [T] where the model is.
  [[nodiscard]] at::Tensor ids(const std::vector<std::int64_t>& tokens) const {
    return at::tensor(tokens, voices_.front().request->prompt.options().dtype(at::kLong));
  }

  static at::Tensor rows(const at::Tensor& from, const std::vector<std::int64_t>& which) {
    if (which.empty()) return {};
    return from.index_select(0, at::tensor(which, from.options().dtype(at::kLong)));
  }

  const Backbone& llm_;
  const GenerationObserver& observer_;
  Stepping stepping_;
  std::vector<Voice> voices_;
  at::Tensor states_;             // [voices, hidden]
  std::optional<Chosen> chosen_;  // from `states_`, by the device
  KeptDecodeStep<Backbone> own_steps_;
  KeptDecodeStep<Backbone>* kept_;
  std::optional<DecodeQueue<Backbone>> in_place_;  // from the first step in place on
};

}  // namespace detail

/// Continues every request until its end token, its token limit or its callback says stop. All sequences share each
/// step's matrix products; a sequence's answer is that of running it alone, up to the rounding of those products.
/// Each token is run once: the last token of an answer is chosen but not run, and its position is not in the cache.
/// Drafts change neither answers nor caches nor the order of the observer's calls, up to the same rounding.
/// @tparam SegPolicy  which hidden state belongs to a `[SEG]`
/// @param kept  the model's steps of earlier answers, for those of one request in the same cache; or nullptr
/// @throws InputError when a request is wrong, a sequence outgrows the model's context or the logits are not finite;
///         the caches then hold the positions of the steps that were complete
template <class SegPolicy, class Backbone>
[[nodiscard]] std::vector<GeneratedAnswer> generate(const Backbone& llm, const std::vector<GenerationRequest>& requests,
                                                    const GenerationObserver& observer = {},
                                                    KeptDecodeStep<Backbone>* kept = nullptr) {
  const detail::Stepping stepping = detail::choose_stepping<Backbone>(requests);
  return detail::Generation<SegPolicy, Backbone>(llm, requests, observer, stepping, kept).run();
}

}  // namespace lisa
