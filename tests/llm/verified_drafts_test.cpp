// Answers with drafts run beside the prompt are those of plain generation, whatever the drafts say.

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lisa/llm/generate.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

using Tokens = std::vector<std::int64_t>;
using Drafts = std::vector<Tokens>;

constexpr LlamaConfig tiny{.vocab = 40, .hidden = 48, .mlp = 64, .layers = 2, .heads = 4, .kv_heads = 2, .context = 40};

/// A language model that counts its runs.
struct CountedLlama : Llama<tiny> {
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, const std::vector<Segment>& segments) const {
    ++runs;
    return Llama<tiny>::forward(x, segments);
  }
  mutable dim runs = 0;
};

/// One that does not know drafts.
struct PlainLlama : Llama<tiny> {
  static constexpr bool runs_drafts = false;
};

template <class Model = CountedLlama>
Model random_model(std::uint64_t seed) {
  Model llm;
  test::fill_parameters(llm, seed);
  llm.prepare();
  return llm;
}

/// What is known about an answer: its tokens, every call of the observer in order with its state, and the cache behind.
struct Outcome {
  GeneratedAnswer answer;
  std::vector<std::string> events;
  std::vector<at::Tensor> states;
  std::vector<at::Tensor> cached;  // keys and values of every layer
  dim runs = 0;
};

std::vector<at::Tensor> content(KvCache& cache) {
  std::vector<at::Tensor> all;
  const at::Tensor nothing = at::empty({tiny.kv_heads, 0, head_dim(tiny)});
  for (dim layer = 0; layer < tiny.layers; ++layer) {
    const auto [keys, values] = cache.append(layer, nothing, nothing);
    all.insert(all.end(), {keys.clone(), values.clone()});
  }
  return all;
}

template <class Policy, class Model>
std::vector<Outcome> say(const Model& llm, std::vector<GenerationRequest> requests, dim prompt_rows = 4) {
  std::vector<KvCache> caches;
  for (std::size_t i = 0; i < requests.size(); ++i) caches.push_back(llm.make_cache());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].cache = &caches[i];
    requests[i].prompt = test::random_tensor({prompt_rows, tiny.hidden}, 90 + i);
  }
  std::vector<Outcome> outcomes(requests.size());
  const auto record = [&](std::size_t i, const std::string& event, const at::Tensor& state) {
    outcomes[i].events.push_back(event + " at " + std::to_string(caches[i].length()));
    outcomes[i].states.push_back(state.clone());
  };
  const GenerationObserver observer{
      .on_prompt = [&](std::size_t i, const at::Tensor& hidden) { record(i, "prompt", hidden); },
      .on_token =
          [&](std::size_t i, const GeneratedToken& token) {
            record(i, "token " + std::to_string(token.token), token.hidden);
            outcomes[i].states.push_back(token.logits.clone());
            return true;
          },
      .on_seg = [&](std::size_t i, dim index,
                    const at::Tensor& hidden) { record(i, "seg " + std::to_string(index), hidden); }};
  std::vector<GeneratedAnswer> answers = generate<Policy>(llm, requests, observer);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    outcomes[i].answer = std::move(answers[i]);
    outcomes[i].cached = content(caches[i]);
  }
  return outcomes;
}

template <class Policy>
Outcome say_alone(const CountedLlama& llm, const GenerationRequest& request, dim prompt_rows = 4) {
  llm.runs = 0;
  Outcome outcome = say<Policy>(llm, {request}, prompt_rows).front();
  outcome.runs = llm.runs;
  return outcome;
}

/// Words about what differs; "" when all but rounding is the same.
std::string difference(const Outcome& a, const Outcome& b) {
  const auto tensors = [](const std::vector<at::Tensor>& x, const std::vector<at::Tensor>& y) {
    return std::ranges::equal(x, y, [](const at::Tensor& s, const at::Tensor& t) {
      return s.sizes() == t.sizes() && test::relative_l2(s, t) < 1e-5;
    });
  };
  if (a.answer.tokens != b.answer.tokens) return "tokens";
  if (a.answer.stopped_by != b.answer.stopped_by) return "stopped_by";
  if (a.events != b.events) return "events";
  if (!tensors(a.states, b.states)) return "states";
  return tensors(a.cached, b.cached) ? "" : "cache";
}

Tokens plain_answer(const CountedLlama& llm, dim tokens) {
  return say_alone<PredictingHiddenState>(llm, {.max_new_tokens = tokens}).answer.tokens;
}

Tokens first(const Tokens& tokens, std::size_t count) { return {tokens.begin(), tokens.begin() + count}; }

Tokens operator+(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// A token that the answer does not have at `index`.
std::int64_t wrong(const Tokens& answer, std::size_t index) { return (answer[index] + 7) % tiny.vocab; }

/// Drafts that agree with an answer fully, partly, never, and several of them in every order.
std::vector<Drafts> drafts_about(const Tokens& answer) {
  const Tokens never{wrong(answer, 0), 3, 4}, half = first(answer, 4) + Tokens{wrong(answer, 4), 5, 6, 7},
                                              barely = first(answer, 1) + Tokens{wrong(answer, 1)};
  return {{answer},
          {half},
          {never},
          {barely},
          {first(answer, 3)},
          {never, half, answer, barely},
          {answer + answer},
          {barely, answer, half, never},
          {{}}};
}

/// Tokens that a draft had ready for an answer: its longest beginning, the last token excluded, which is never run.
dim agreement(const Drafts& drafts, const Tokens& answer, dim most_depth) {
  dim longest = 0;
  for (const Tokens& draft : drafts) {
    const auto common = std::ranges::mismatch(draft, answer).in1 - draft.begin();
    longest = std::max(longest, std::min({static_cast<dim>(common), static_cast<dim>(answer.size()) - 1, most_depth}));
  }
  return longest;
}

}  // namespace

TEST_CASE("drafts that agree fully, partly or never leave tokens, callbacks, states and cache as they are") {
  for (const std::uint64_t seed : {700, 800, 900}) {
    const auto llm = random_model(seed);
    const Tokens answer = plain_answer(llm, 9);
    for (const Drafts& drafts : drafts_about(answer))
      for (dim longest = 1; longest <= 9; ++longest) {
        GenerationRequest request{.max_new_tokens = longest};
        const Outcome plain = say_alone<PredictingHiddenState>(llm, request);
        request.drafts = drafts;
        const Outcome drafted = say_alone<PredictingHiddenState>(llm, request);
        CHECK(difference(drafted, plain) == "");
        CHECK(drafted.answer.drafted_tokens == agreement(drafts, plain.answer.tokens, longest - 1));
        // One run for the prompt and one for each further token that no draft had ready.
        CHECK(drafted.runs == longest - drafted.answer.drafted_tokens);
        CHECK(plain.runs == longest);
      }
  }
}

TEST_CASE("a draft of the whole answer leaves nothing to be run one by one, its end token included") {
  const auto llm = random_model(700);
  const Tokens answer = plain_answer(llm, 6);
  GenerationRequest request{.end_token = answer[5], .drafts = {answer + Tokens{9, 9}}};
  const Outcome drafted = say_alone<PredictingHiddenState>(llm, request);
  const auto length = static_cast<std::size_t>(std::ranges::find(answer, answer[5]) - answer.begin()) + 1;
  CHECK(drafted.answer.tokens == first(answer, length));
  CHECK((drafted.answer.stopped_by == StopReason::end_token));
  CHECK(drafted.runs == 1);
}

TEST_CASE("masks are asked for in the same step, wherever [SEG] and the end stand") {
  const auto check = []<class Policy>(Policy, std::uint64_t seed) {
    const auto llm = random_model(seed);
    const Tokens answer = plain_answer(llm, 9);
    const std::vector<Drafts> all_drafts = drafts_about(answer);
    for (const std::size_t seg : {0, 2, 4, 8})
      for (const Segmentation segmentation : {Segmentation::automatic, Segmentation::forced, Segmentation::off})
        for (const std::size_t end : {3, 7}) {
          GenerationRequest request{
              .max_new_tokens = 9, .end_token = answer[end], .seg_token = answer[seg], .segmentation = segmentation};
          const Outcome plain = say_alone<Policy>(llm, request);
          for (const Drafts& drafts : all_drafts) {
            request.drafts = drafts;
            CHECK(difference(say_alone<Policy>(llm, request), plain) == "");
          }
        }
  };
  check(PredictingHiddenState{}, 700);
  check(OwnHiddenState{}, 801);
}

TEST_CASE("a [SEG] that is forced where the answer would end is followed into a draft that has one") {
  const auto llm = random_model(700);
  const Tokens answer = plain_answer(llm, 4);
  const std::int64_t seg = 39, end = answer[3];
  REQUIRE(std::ranges::count(answer, seg) == 0);
  REQUIRE(std::ranges::find(answer, end) == answer.begin() + 3);
  GenerationRequest request{.end_token = end, .seg_token = seg, .segmentation = Segmentation::forced};
  const Outcome plain = say_alone<PredictingHiddenState>(llm, request);
  CHECK(plain.answer.tokens == first(answer, 3) + Tokens{seg, end});
  request.drafts = {first(answer, 3) + Tokens{seg}};
  const Outcome drafted = say_alone<PredictingHiddenState>(llm, request);
  CHECK(difference(drafted, plain) == "");
  CHECK(drafted.runs == 1);
}

TEST_CASE("a forced answer follows drafts as a chosen one does") {
  const auto llm = random_model(700);
  const Tokens forced{5, 9, 9, 12, 3};
  for (const Drafts& drafts : drafts_about(forced)) {
    GenerationRequest request{.seg_token = 9, .forced_answer = forced};
    const Outcome plain = say_alone<PredictingHiddenState>(llm, request);
    request.drafts = drafts;
    const Outcome drafted = say_alone<PredictingHiddenState>(llm, request);
    CHECK(difference(drafted, plain) == "");
    CHECK(drafted.answer.drafted_tokens == agreement(drafts, forced, 100));
  }
}

TEST_CASE("sequences of a batch follow drafts of their own, the others step meanwhile") {
  const auto llm = random_model(700);
  std::vector<GenerationRequest> requests(5);
  for (std::size_t i = 0; i < requests.size(); ++i) requests[i].max_new_tokens = 9 - static_cast<dim>(i % 2);
  const std::vector<Outcome> plain = say<PredictingHiddenState>(llm, requests);
  for (std::size_t i = 0; i < 4; ++i)
    requests[i].drafts = drafts_about(plain[i].answer.tokens)[i];  // the last has none
  const std::vector<Outcome> drafted = say<PredictingHiddenState>(llm, requests);
  for (std::size_t i = 0; i < requests.size(); ++i) CHECK(difference(drafted[i], plain[i]) == "");
  CHECK(drafted[0].answer.drafted_tokens == 8);
  CHECK(drafted[1].answer.drafted_tokens == 4);
  CHECK(drafted[4].answer.drafted_tokens == 0);
}

TEST_CASE("drafts take no room that the context does not have") {
  const auto llm = random_model(700);
  for (const dim rows : {37, 39, 40}) {  // of 40
    GenerationRequest request{.max_new_tokens = 41 - rows};
    const Outcome plain = say_alone<PredictingHiddenState>(llm, request, rows);
    request.drafts = {plain.answer.tokens + Tokens{1, 2, 3, 4, 5}, {9, 9, 9, 9}};
    CHECK(difference(say_alone<PredictingHiddenState>(llm, request, rows), plain) == "");
  }
}

TEST_CASE("a drawn answer and a model that does not know drafts run none") {
  const auto llm = random_model(700);
  GenerationRequest request{.sampling = {.temperature = 0.7, .seed = 3}, .max_new_tokens = 6};
  const Outcome plain = say_alone<PredictingHiddenState>(llm, request);
  request.drafts = {plain.answer.tokens};
  const Outcome drafted = say_alone<PredictingHiddenState>(llm, request);
  CHECK(difference(drafted, plain) == "");
  CHECK(drafted.answer.drafted_tokens == 0);

  const auto without = random_model<PlainLlama>(700);
  GenerationRequest greedy{.max_new_tokens = 6};
  const Outcome expected = say_alone<PredictingHiddenState>(llm, greedy);
  greedy.drafts = {expected.answer.tokens};
  const Outcome found = say<PredictingHiddenState>(without, {greedy}).front();
  CHECK(difference(found, expected) == "");
  CHECK(found.answer.drafted_tokens == 0);
}

TEST_CASE("an exception in the middle of a draft leaves the positions of what was complete") {
  const auto llm = random_model(700);
  const Tokens answer = plain_answer(llm, 6);
  KvCache cache = llm.make_cache();
  GenerationRequest request{.cache = &cache, .prompt = test::random_tensor({4, tiny.hidden}, 90), .drafts = {answer}};
  const GenerationObserver observer{.on_prompt = {},
                                    .on_token = [](std::size_t, const GeneratedToken& token) -> bool {
                                      if (token.index == 3) throw InputError("observer", "enough");
                                      return true;
                                    },
                                    .on_seg = {}};
  CHECK_THROWS_AS(static_cast<void>(generate<PredictingHiddenState>(llm, {request}, observer)), InputError);
  CHECK(cache.length() == 4 + 3);
}
