// Steps in place say what steps of the host say: tokens, the observer's calls with their states, and the cache.
#include "lisa/llm/decode_step.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "lisa/llm/generate.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
using lisa::detail::Stepping;

namespace {

using Tokens = std::vector<std::int64_t>;

constexpr LlamaConfig tiny{.vocab = 40, .hidden = 48, .mlp = 64, .layers = 2, .heads = 4, .kv_heads = 2, .context = 32};
constexpr LlamaConfig ungrouped{
    .vocab = 30, .hidden = 32, .mlp = 40, .layers = 3, .heads = 2, .kv_heads = 2, .context = 24};

template <LlamaConfig C>
Llama<C> random_model(std::uint64_t seed, at::ScalarType dtype = at::kDouble) {
  Llama<C> llm;
  test::fill_parameters(llm, seed, dtype);
  llm.prepare();
  return llm;
}

/// Keys and values of every layer.
template <LlamaConfig C>
std::vector<at::Tensor> content(KvCache& cache) {
  std::vector<at::Tensor> all;
  for (dim layer = 0; layer < C.layers; ++layer) {
    const auto [keys, values] = cache.storage(layer);
    all.insert(all.end(), {keys.narrow(1, 0, cache.length()), values.narrow(1, 0, cache.length())});
  }
  return all;
}

/// What is known about an answer: its tokens, every call of the observer in order with its states, and the cache.
struct Outcome {
  GeneratedAnswer answer;
  std::vector<std::string> events;
  std::vector<at::Tensor> tensors;  // states and logits as they were told, then the cache
};

/// Whether an observer is there, and whether it is told states and logits.
enum class Watched { yes, without_states, no };

template <class Policy, class Model>
Outcome say_in(KvCache& cache, const Model& llm, GenerationRequest request, Stepping stepping, Watched watched,
               KeptDecodeStep<Model>* kept = nullptr) {
  constexpr LlamaConfig C = Model::config;
  request.cache = &cache;
  request.prompt = test::random_tensor({4, C.hidden}, 90, llm.embed_tokens.scalar_type());
  Outcome outcome;
  const auto record = [&](const std::string& event, const at::Tensor& state) {
    outcome.events.push_back(event + " at " + std::to_string(cache.length()));
    outcome.tensors.push_back(state);  // not a copy: what an observer was given must stay as it was
  };
  GenerationObserver observer;
  if (watched != Watched::no)
    observer = {.on_prompt = [&](std::size_t, const at::Tensor& hidden) { record("prompt", hidden); },
                .on_token =
                    [&](std::size_t, const GeneratedToken& token) {
                      if (watched == Watched::yes) {
                        record("token " + std::to_string(token.token), token.hidden);
                        outcome.tensors.push_back(token.logits);
                      } else {
                        outcome.events.push_back("token " + std::to_string(token.token));
                        CHECK_FALSE((token.hidden.defined() || token.logits.defined()));
                      }
                      return true;
                    },
                .states_wanted = watched == Watched::yes,
                .on_seg = [&](std::size_t, dim index,
                              const at::Tensor& hidden) { record("seg " + std::to_string(index), hidden); },
                .on_step = [&] { outcome.events.push_back("step at " + std::to_string(cache.length())); }};
  outcome.answer = lisa::detail::Generation<Policy, Model>(llm, {request}, observer, stepping, kept).run().front();
  for (const at::Tensor& tensor : content<C>(cache)) outcome.tensors.push_back(tensor.clone());
  return outcome;
}

template <class Policy, LlamaConfig C>
Outcome say(const Llama<C>& llm, const GenerationRequest& request, Stepping stepping, Watched watched = Watched::yes) {
  KvCache cache = llm.make_cache();
  return say_in<Policy>(cache, llm, request, stepping, watched);
}

/// Words about what differs; "" when all but the rounding of sums in another order is the same.
std::string difference(const Outcome& a, const Outcome& b, double bound = 1e-12) {
  if (a.answer.tokens != b.answer.tokens) return "tokens";
  if (a.answer.stopped_by != b.answer.stopped_by) return "stopped_by";
  if (a.answer.drafted_tokens != b.answer.drafted_tokens) return "drafted_tokens";
  if (a.events != b.events) return "events";
  const auto same = [&](const at::Tensor& s, const at::Tensor& t) {
    return s.sizes() == t.sizes() && test::relative_l2(s, t) < bound;
  };
  return std::ranges::equal(a.tensors, b.tensors, same) ? "" : "states, logits or cache";
}

template <class Policy, LlamaConfig C>
void check_same(const Llama<C>& llm, const GenerationRequest& request) {
  const Outcome host = say<Policy>(llm, request, Stepping::together);
  CHECK(difference(say<Policy>(llm, request, Stepping::in_place), host) == "");
  // Steps whose logits nobody looks at are queued ahead of the host; states of [SEG] are those of their step.
  for (const Watched watched : {Watched::without_states, Watched::no}) {
    const Outcome ahead = say<Policy>(llm, request, Stepping::together, watched);
    CHECK(difference(say<Policy>(llm, request, Stepping::in_place, watched), ahead) == "");
    CHECK(ahead.answer.tokens == host.answer.tokens);
  }
}

/// The greedy answer of `rows` tokens that knows no end.
template <LlamaConfig C>
Tokens endless(const Llama<C>& llm, dim tokens) {
  return say<PredictingHiddenState>(llm, {.max_new_tokens = tokens}, Stepping::together).answer.tokens;
}

}  // namespace

TEST_CASE("steps in place give the tokens, states, logits and cache of the host's steps") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    CAPTURE(seed);
    check_same<PredictingHiddenState>(random_model<tiny>(100 * seed), {.max_new_tokens = 20});
    check_same<PredictingHiddenState>(random_model<ungrouped>(100 * seed), {.max_new_tokens = 15});
  }
}

TEST_CASE("steps in place end with the end token, the token limit or the room of the context") {
  const auto llm = random_model<tiny>(700);
  const Tokens tokens = endless(llm, 20);
  for (const std::size_t last : {0, 1, 2, 3, 7, 19}) {
    CAPTURE(last);
    check_same<PredictingHiddenState>(llm, {.max_new_tokens = 20, .end_token = tokens[last]});
    check_same<PredictingHiddenState>(llm, {.max_new_tokens = static_cast<dim>(last) + 1});
  }
  check_same<PredictingHiddenState>(llm, {.max_new_tokens = tiny.context - 4 + 1});  // the last token is not run
  for (const Watched watched : {Watched::yes, Watched::without_states, Watched::no})
    for (const Stepping stepping : {Stepping::together, Stepping::in_place})
      CHECK_THROWS_AS(static_cast<void>(
                          say<PredictingHiddenState>(llm, {.max_new_tokens = tiny.context - 4 + 2}, stepping, watched)),
                      InputError);
}

TEST_CASE("a [SEG] of an answer in place gets the state of its policy, a forced one too") {
  const auto llm = random_model<tiny>(800);
  const Tokens tokens = endless(llm, 12);
  for (const std::size_t place : {0, 1, 5, 11}) {
    CAPTURE(place);
    const std::int64_t seg = tokens[place];
    check_same<PredictingHiddenState>(llm, {.max_new_tokens = 12, .seg_token = seg});
    check_same<OwnHiddenState>(llm, {.max_new_tokens = 12, .seg_token = seg});
    std::int64_t never = 0;
    while (std::ranges::find(tokens, never) != tokens.end()) ++never;
    const GenerationRequest forced{
        .max_new_tokens = 12, .end_token = seg, .seg_token = never, .segmentation = Segmentation::forced};
    check_same<PredictingHiddenState>(llm, forced);
    check_same<OwnHiddenState>(llm, forced);
  }
}

TEST_CASE("drafts go before steps in place, which continue behind the rows that the answer used") {
  const auto llm = random_model<tiny>(900);
  const Tokens tokens = endless(llm, 12);
  const auto beginning = [&](std::size_t count) {
    Tokens draft(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count));
    draft.push_back((tokens[count] + 1) % tiny.vocab);
    return draft;
  };
  check_same<PredictingHiddenState>(llm, {.max_new_tokens = 12, .drafts = {beginning(3)}});
  check_same<PredictingHiddenState>(llm, {.max_new_tokens = 12, .drafts = {beginning(0), beginning(6), beginning(2)}});
  check_same<OwnHiddenState>(llm, {.max_new_tokens = 12, .seg_token = tokens[5], .drafts = {beginning(5)}});
}

TEST_CASE("a callback's end is one in place, and what comes next in the cache is free") {
  const auto llm = random_model<tiny>(1000);
  KvCache caches[] = {llm.make_cache(), llm.make_cache()};
  for (const Stepping stepping : {Stepping::together, Stepping::in_place}) {
    KvCache& cache = caches[static_cast<std::size_t>(stepping)];
    const GenerationObserver observer{
        .on_token = [](std::size_t, const GeneratedToken& token) { return token.index < 3; }};
    for (int turn = 0; turn < 2; ++turn) {
      const GenerationRequest request{.cache = &cache, .prompt = test::random_tensor({3, tiny.hidden}, 7, at::kDouble)};
      const auto answer =
          lisa::detail::Generation<PredictingHiddenState, Llama<tiny>>(llm, {request}, observer, stepping).run();
      CHECK(answer.front().tokens.size() == 4);
      CHECK((answer.front().stopped_by == StopReason::callback));
    }
    CHECK(cache.length() == 2 * (3 + 3));
  }
  const auto host = content<tiny>(caches[0]), in_place = content<tiny>(caches[1]);
  for (std::size_t i = 0; i < host.size(); ++i) CHECK(test::relative_l2(in_place[i], host[i]) < 1e-12);
}

TEST_CASE("steps in place never choose NaN, the lowest id among equals, and refuse logits without a finite one") {
  auto llm = random_model<tiny>(1100);
  const auto spoil = [&](std::int64_t id, double value) { llm.lm_head.weight[id].fill_(value); };
  const Tokens tokens = endless(llm, 3);
  const std::int64_t second = tokens[1] == 0 ? 1 : 0;
  llm.lm_head.weight[second].copy_(llm.lm_head.weight[tokens[1]]);  // equal logits, wherever
  check_same<PredictingHiddenState>(llm, {.max_new_tokens = 12});
  spoil(tokens[1], std::numeric_limits<double>::quiet_NaN());
  spoil(second, std::numeric_limits<double>::quiet_NaN());
  const Tokens without = endless(llm, 12);
  CHECK(std::ranges::find(without, tokens[1]) == without.end());
  for (const Watched watched : {Watched::yes, Watched::without_states, Watched::no})
    CHECK(say<PredictingHiddenState>(llm, {.max_new_tokens = 12}, Stepping::in_place, watched).answer.tokens ==
          without);

  // The first token is the host's choice, so only the steps behind it may meet the defect.
  KvCache cache = llm.make_cache();
  const Segment prompt{4, &cache};
  static_cast<void>(llm.forward(test::random_tensor({4, tiny.hidden}, 90, at::kDouble), {&prompt, 1}));
  for (std::int64_t id = 0; id < tiny.vocab; ++id) spoil(id, std::numeric_limits<double>::quiet_NaN());
  DecodeStep<Llama<tiny>> step(llm, cache, at::kCPU, -1);
  DecodeQueue<Llama<tiny>> queue(cache, step, true);
  CHECK_THROWS_WITH_AS(static_cast<void>(queue.next(3)), doctest::Contains("a finite largest value"), InputError);
}

TEST_CASE("steps behind the end leave the sequence alone") {
  const auto llm = random_model<tiny>(1200);
  const auto run_prompt = [&](KvCache& cache) {
    const Segment prompt{4, &cache};
    static_cast<void>(llm.forward(test::random_tensor({4, tiny.hidden}, 90, at::kDouble), {&prompt, 1}));
  };
  const Tokens tokens = endless(llm, 6);
  KvCache cache = llm.make_cache();
  run_prompt(cache);
  DecodeStep<Llama<tiny>> step(llm, cache, at::kCPU, tokens[3]);
  step.start(tokens[0]);
  std::vector<std::pair<std::int64_t, std::int64_t>> choices;
  std::vector<at::Tensor> rows;
  for (int i = 0; i < 6; ++i) {
    const auto found = step.run(true);
    const auto choice = step.choice(found.slot);
    choices.emplace_back(choice.token, choice.goes_on ? 1 : 0);
    rows.push_back(cache.storage(1).keys.narrow(1, 4, 3).clone());
  }
  CHECK(choices[0] == std::pair{tokens[1], std::int64_t{1}});
  CHECK(choices[1] == std::pair{tokens[2], std::int64_t{1}});
  CHECK(choices[2] == std::pair{tokens[3], std::int64_t{0}});
  CHECK(choices[5].second == 0);
  CHECK(at::equal(rows[5], rows[2]));  // the three rows of the answer
  CHECK(cache.storage(1).keys.narrow(1, 8, tiny.context - 8).abs().max().item<double>() == 0);
}

TEST_CASE("as many states as there are slots stay beside those of later steps") {
  const auto llm = random_model<tiny>(1250);
  KvCache cache = llm.make_cache();
  const Segment prompt{4, &cache};
  static_cast<void>(llm.forward(test::random_tensor({4, tiny.hidden}, 90, at::kDouble), {&prompt, 1}));
  DecodeStep<Llama<tiny>> step(llm, cache, at::kCPU, -1, /*slots=*/3);
  step.start(5);
  std::vector<at::Tensor> states, copies;
  std::vector<std::int64_t> tokens;
  for (int i = 0; i < 3; ++i) {
    const auto found = step.run(false);
    states.push_back(found.hidden);
    copies.push_back(found.hidden.clone());
    tokens.push_back(step.choice(found.slot).token);
  }
  for (std::size_t i = 0; i < 3; ++i) CHECK(at::equal(states[i], copies[i]));
  for (dim slot = 0; slot < 3; ++slot) CHECK(step.choice(slot).token == tokens[static_cast<std::size_t>(slot)]);
  CHECK(step.run(false).hidden.const_data_ptr() == states[0].const_data_ptr());
  CHECK_FALSE(at::equal(states[0], copies[0]));
  CHECK(at::equal(states[1], copies[1]));
}

TEST_CASE("steps are kept between answers in one cache, and made anew for another") {
  const auto llm = random_model<tiny>(1260);
  KvCache first = llm.make_cache(), plain = llm.make_cache();
  KeptDecodeStep<Llama<tiny>> kept;
  const auto ask = [&](KvCache& cache, Stepping stepping) {
    return say_in<PredictingHiddenState>(cache, llm, {.max_new_tokens = 5}, stepping, Watched::without_states,
                                         stepping == Stepping::in_place ? &kept : nullptr);
  };
  const auto step_in = [&](KvCache& cache, std::int64_t end_token = -1) {
    return &kept.for_answer(llm, cache, at::kCPU, end_token, DecodeQueue<Llama<tiny>>::most_queued);
  };
  CHECK(difference(ask(first, Stepping::in_place), ask(plain, Stepping::together)) == "");
  const auto* const step = step_in(first);
  CHECK(difference(ask(first, Stepping::in_place), ask(plain, Stepping::together)) == "");  // a second turn
  CHECK(step_in(first) == step);
  for (KvCache* const cache : {&first, &plain}) cache->truncate(6);
  KvCache moved = std::move(first);
  CHECK(difference(ask(moved, Stepping::in_place), ask(plain, Stepping::together)) == "");
  CHECK(step_in(moved) == step);
  KvCache other = moved.fork();
  CHECK(difference(ask(other, Stepping::in_place), ask(plain, Stepping::together)) == "");
  CHECK(step_in(other) != step);
  const auto* const of_other = step_in(other);
  CHECK(step_in(other, 3) != of_other);
}

namespace {

/// A language model that counts the products of its head.
struct CountedHead : Llama<tiny> {
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden) const {
    ++products;
    return Llama<tiny>::logits(hidden);
  }
  mutable int products = 0;
};

}  // namespace

TEST_CASE("one product of the head chooses all tokens that drafts have ready") {
  CountedHead llm;
  test::fill_parameters(llm, 1270, at::kDouble);
  llm.prepare();
  const Tokens tokens = endless<tiny>(llm, 9);
  const GenerationRequest request{.max_new_tokens = 8, .drafts = {Tokens(tokens.begin(), tokens.begin() + 7)}};
  const auto products = [&](Stepping stepping) {
    KvCache cache = llm.make_cache();
    llm.products = 0;
    const Outcome outcome = say_in<PredictingHiddenState>(cache, llm, request, stepping, Watched::yes);
    CHECK(outcome.answer.tokens == Tokens(tokens.begin(), tokens.begin() + 8));
    CHECK(outcome.answer.drafted_tokens == 7);
    return llm.products;
  };
  CHECK(products(Stepping::in_place) == 1);
  CHECK(products(Stepping::together) == 8);
}

TEST_CASE("in bf16 steps in place agree with the host's up to rounding") {
  const auto llm = random_model<tiny>(1300, at::kBFloat16);
  const GenerationRequest request{.max_new_tokens = 2};
  CHECK(difference(say<PredictingHiddenState>(llm, request, Stepping::in_place),
                   say<PredictingHiddenState>(llm, request, Stepping::together), 3e-2) == "");
}

TEST_CASE("on a CPU steps are the host's") {
  const auto llm = random_model<tiny>(1400);
  KvCache cache = llm.make_cache();
  const GenerationRequest request{.cache = &cache, .prompt = test::random_tensor({3, tiny.hidden}, 7, at::kDouble)};
  CHECK((lisa::detail::choose_stepping<Llama<tiny>>({request}) == Stepping::together));
}
