#include "lisa/llm/generate.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

constexpr std::int64_t end = 1, seg = 2;
constexpr dim vocab = 10;

/// A backbone that says `next[token]` after every token. Its hidden state is the one-hot vector of the newest token, so
/// that a state tells which position it belongs to.
struct Chain {
  std::vector<std::int64_t> next = std::vector<std::int64_t>(vocab, 0);

  [[nodiscard]] at::Tensor embed(const at::Tensor& ids) const {
    const at::Tensor rows = at::zeros({ids.size(0), vocab});
    return rows.scatter(1, ids.unsqueeze(1), 1.0);
  }
  [[nodiscard]] at::Tensor forward(const at::Tensor& x, const std::vector<Segment>& segments) const {
    for (const Segment& segment : segments) {
      segment.cache->require_room(segment.rows);
      segment.cache->advance(segment.rows);
    }
    return x;
  }
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden) const {
    return at::matmul(hidden, embed(at::tensor(next, at::kLong)));
  }
};

using Tokens = std::vector<std::int64_t>;

/// 3 -> 4 -> [SEG] -> 5 -> end, and 6 -> 7 -> end.
Chain example() {
  Chain chain;
  chain.next[3] = 4;
  chain.next[4] = seg;
  chain.next[seg] = 5;
  chain.next[5] = end;
  chain.next[6] = 7;
  chain.next[7] = end;
  return chain;
}

/// What the observer was told, in order.
struct Record {
  std::vector<std::string> events;
  std::vector<std::pair<dim, std::int64_t>> segs;  ///< index in the answer, token whose position the state is from
  GenerationObserver observer() {
    return {.on_prompt = [this](std::size_t i, const at::Tensor& h) { add("prompt", i, h.size(0)); },
            .on_token =
                [this](std::size_t i, const GeneratedToken& token) {
                  add("token", i, token.token);
                  return true;
                },
            .on_seg =
                [this](std::size_t i, dim index, const at::Tensor& hidden) {
                  add("seg", i, index);
                  segs.emplace_back(index, hidden.argmax().item<std::int64_t>());
                }};
  }
  void add(const std::string& what, std::size_t sequence, std::int64_t value) {
    events.push_back(what + " " + std::to_string(sequence) + " " + std::to_string(value));
  }
};

struct Outcome {
  GeneratedAnswer answer;
  Record record;
  dim cached = 0;
};

/// Continues the prompt `first` with the chain.
template <class Policy = PredictingHiddenState>
Outcome say(std::int64_t first, GenerationRequest request = {}, const Chain& chain = example()) {
  KvCache cache(1, 100);
  Outcome outcome;
  request.cache = &cache;
  request.prompt = chain.embed(at::tensor(Tokens{0, first}, at::kLong));
  request.end_token = end;
  if (request.seg_token == -1) request.seg_token = seg;
  outcome.answer = generate<Policy>(chain, {request}, outcome.record.observer()).front();
  outcome.cached = cache.length();
  return outcome;
}

std::string message_of(const std::vector<GenerationRequest>& requests) {
  try {
    static_cast<void>(generate<PredictingHiddenState>(example(), requests));
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("an answer ends with the end token, which is chosen and not run") {
  const Outcome outcome = say(3);
  CHECK(outcome.answer.tokens == Tokens{4, seg, 5, end});
  CHECK((outcome.answer.stopped_by == StopReason::end_token));
  CHECK(outcome.cached == 2 + 3);
  CHECK(to_string(outcome.answer.stopped_by) == "end_token");
}

TEST_CASE("the state of a [SEG] arrives in the step that chooses it, before any later token") {
  const Outcome outcome = say(3);
  CHECK(outcome.record.events ==
        std::vector<std::string>{"prompt 0 2", "token 0 4", "seg 0 1", "token 0 2", "token 0 5", "token 0 1"});
  CHECK(outcome.record.segs == std::vector<std::pair<dim, std::int64_t>>{{1, 4}});
}

TEST_CASE("the policy of the own state waits one step") {
  const Outcome outcome = say<OwnHiddenState>(3);
  CHECK(outcome.answer.tokens == Tokens{4, seg, 5, end});
  CHECK(outcome.record.events ==
        std::vector<std::string>{"prompt 0 2", "token 0 4", "token 0 2", "seg 0 1", "token 0 5", "token 0 1"});
  CHECK(outcome.record.segs == std::vector<std::pair<dim, std::int64_t>>{{1, seg}});
}

TEST_CASE("a [SEG] as the last token still gets its own state") {
  const Outcome limited = say<OwnHiddenState>(3, {.max_new_tokens = 2});
  CHECK(limited.answer.tokens == Tokens{4, seg});
  CHECK((limited.answer.stopped_by == StopReason::max_new_tokens));
  CHECK(limited.record.segs == std::vector<std::pair<dim, std::int64_t>>{{1, seg}});
  CHECK(limited.cached == 4);  // its position had to be run
  CHECK(say(3, {.max_new_tokens = 2}).cached == 3);
}

TEST_CASE("max_new_tokens bounds an answer that would go on") {
  Chain chain;
  chain.next[3] = 4;
  chain.next[4] = 3;
  const Outcome outcome = say(3, {.max_new_tokens = 5}, chain);
  CHECK(outcome.answer.tokens == Tokens{4, 3, 4, 3, 4});
  CHECK((outcome.answer.stopped_by == StopReason::max_new_tokens));
  CHECK(say(3, {.max_new_tokens = 1}, chain).answer.tokens == Tokens{4});
  // The end token in the last place is an end, not a cut.
  CHECK((say(3, {.max_new_tokens = 4}).answer.stopped_by == StopReason::end_token));
}

TEST_CASE("forced segmentation puts [SEG] where the answer would end without one") {
  const Outcome outcome = say(6, {.segmentation = Segmentation::forced});
  CHECK(outcome.answer.tokens == Tokens{7, seg, end});
  CHECK((outcome.answer.stopped_by == StopReason::end_token));
  CHECK(outcome.record.segs == std::vector<std::pair<dim, std::int64_t>>{{1, 7}});

  const Outcome cut = say(6, {.max_new_tokens = 1, .segmentation = Segmentation::forced});
  CHECK(cut.answer.tokens == Tokens{seg});
  CHECK((cut.answer.stopped_by == StopReason::max_new_tokens));
  CHECK(cut.record.segs == std::vector<std::pair<dim, std::int64_t>>{{0, 6}});

  const Outcome last = say(6, {.max_new_tokens = 2, .segmentation = Segmentation::forced});
  CHECK(last.answer.tokens == Tokens{7, seg});

  const Outcome own = say<OwnHiddenState>(6, {.max_new_tokens = 2, .segmentation = Segmentation::forced});
  CHECK(own.record.segs == std::vector<std::pair<dim, std::int64_t>>{{1, seg}});
}

TEST_CASE("forced segmentation leaves an answer with [SEG] alone") {
  const Outcome outcome = say(3, {.segmentation = Segmentation::forced});
  CHECK(outcome.answer.tokens == Tokens{4, seg, 5, end});
}

TEST_CASE("a text answer never chooses [SEG]") {
  Chain chain = example();
  const Outcome outcome = say(3, {.max_new_tokens = 3, .segmentation = Segmentation::off}, chain);
  CHECK(outcome.answer.tokens[0] == 4);
  CHECK(std::count(outcome.answer.tokens.begin(), outcome.answer.tokens.end(), seg) == 0);
  CHECK(outcome.record.segs.empty());
}

TEST_CASE("a forced answer is said word for word and reports its segments") {
  const Outcome outcome = say(6, {.max_new_tokens = 1, .forced_answer = {5, seg, end, seg}});
  CHECK(outcome.answer.tokens == Tokens{5, seg, end, seg});
  CHECK((outcome.answer.stopped_by == StopReason::forced_answer));
  CHECK(outcome.record.segs == std::vector<std::pair<dim, std::int64_t>>{{1, 5}, {3, end}});
  const Outcome own = say<OwnHiddenState>(6, {.forced_answer = {5, seg, end, seg}});
  CHECK(own.record.segs == std::vector<std::pair<dim, std::int64_t>>{{1, seg}, {3, seg}});
  CHECK_THROWS_AS(say(6, {.forced_answer = {5, vocab}}), InputError);
  CHECK_THROWS_AS(say(6, {.forced_answer = {-200}}), InputError);
}

TEST_CASE("a callback ends the answer after its token") {
  const Chain chain = example();
  KvCache cache(1, 100);
  GenerationRequest request{.cache = &cache, .prompt = chain.embed(at::tensor(Tokens{3}, at::kLong))};
  request.end_token = end;
  request.seg_token = seg;
  dim segs = 0;
  const GenerationObserver observer{
      .on_prompt = {},
      .on_token = [](std::size_t, const GeneratedToken& token) { return token.token != seg; },
      .on_seg = [&](std::size_t, dim, const at::Tensor&) { ++segs; }};
  const GeneratedAnswer answer = generate<PredictingHiddenState>(chain, {request}, observer).front();
  CHECK(answer.tokens == Tokens{4, seg});
  CHECK((answer.stopped_by == StopReason::callback));
  CHECK(segs == 1);

  KvCache other(1, 100);
  request.cache = &other;
  CHECK(generate<OwnHiddenState>(chain, {request}, observer).front().tokens == Tokens{4, seg});
  CHECK(segs == 2);
}

TEST_CASE("an observer's exception passes through and the cache stays usable") {
  const Chain chain = example();
  KvCache cache(1, 100);
  GenerationRequest request{.cache = &cache, .prompt = chain.embed(at::tensor(Tokens{3}, at::kLong))};
  const GenerationObserver observer{.on_prompt = {},
                                    .on_token = [](std::size_t, const GeneratedToken& token) -> bool {
                                      if (token.index == 1) throw InputError("observer", "enough");
                                      return true;
                                    },
                                    .on_seg = {}};
  CHECK_THROWS_AS(static_cast<void>(generate<PredictingHiddenState>(chain, {request}, observer)), InputError);
  CHECK(cache.length() == 2);
}

TEST_CASE("sequences that end at different steps do not disturb each other") {
  const Chain chain = example();
  const Tokens firsts{6, 3, 5, 4, 7};
  const std::vector<Tokens> expected{{7, end}, {4, seg, 5, end}, {end}, {seg, 5, end}, {end}};
  std::vector<KvCache> caches;
  for (std::size_t i = 0; i < firsts.size(); ++i) caches.emplace_back(1, 100);
  std::vector<GenerationRequest> requests;
  for (std::size_t i = 0; i < firsts.size(); ++i) {
    GenerationRequest request{.cache = &caches[i], .prompt = chain.embed(at::tensor(Tokens{0, firsts[i]}, at::kLong))};
    request.end_token = end;
    request.seg_token = seg;
    requests.push_back(request);
  }
  const auto check = [&](const std::vector<GeneratedAnswer>& answers) {
    for (std::size_t i = 0; i < firsts.size(); ++i) CHECK(answers[i].tokens == expected[i]);
  };
  std::map<std::size_t, std::pair<dim, std::int64_t>> segs;
  const GenerationObserver observer{
      .on_prompt = {}, .on_token = {}, .on_seg = [&](std::size_t sequence, dim index, const at::Tensor& hidden) {
        segs[sequence] = {index, hidden.argmax().item<std::int64_t>()};
      }};
  check(generate<PredictingHiddenState>(chain, requests, observer));
  CHECK(segs == std::map<std::size_t, std::pair<dim, std::int64_t>>{{1, {1, 4}}, {3, {0, 4}}});
  for (std::size_t i = 0; i < firsts.size(); ++i)
    CHECK(caches[i].length() == 2 + static_cast<dim>(expected[i].size()) - 1);

  segs.clear();
  for (KvCache& cache : caches) cache.truncate(0);
  requests[3].max_new_tokens = 1;  // ends with [SEG] while others go on
  std::vector<GeneratedAnswer> answers = generate<OwnHiddenState>(chain, requests, observer);
  CHECK(answers[3].tokens == Tokens{seg});
  answers[3].tokens = expected[3];
  check(answers);
  CHECK(segs == std::map<std::size_t, std::pair<dim, std::int64_t>>{{1, {1, seg}}, {3, {0, seg}}});
}

TEST_CASE("no request gives no answer") {
  CHECK(generate<PredictingHiddenState>(example(), std::vector<GenerationRequest>{}).empty());
}

TEST_CASE("wrong requests are refused before anything runs, every defect named") {
  KvCache cache(1, 10);
  const at::Tensor prompt = example().embed(at::tensor(Tokens{3}, at::kLong));
  GenerationRequest good{.cache = &cache, .prompt = prompt};
  GenerationRequest bad{.cache = nullptr, .prompt = at::zeros({0, vocab})};
  bad.max_new_tokens = 0;
  bad.segmentation = Segmentation::forced;
  const std::string message = message_of({good, bad, good});
  for (const std::string part :
       {"request 1: cache: found none", "request 1: prompt: found no rows", "request 1: max_new_tokens: found 0",
        "request 1: seg_token: found -1", "request 2: cache: found that of another request"})
    CHECK_MESSAGE(message.find(part) != std::string::npos, message);
  CHECK(cache.length() == 0);
  good.sampling.temperature = -1;
  CHECK(message_of({good}).find("temperature") != std::string::npos);
}

TEST_CASE("an answer that outgrows the context ends with an error") {
  Chain chain;
  chain.next[3] = 3;
  KvCache cache(1, 6);
  GenerationRequest request{.cache = &cache, .prompt = chain.embed(at::tensor(Tokens{3}, at::kLong))};
  CHECK_THROWS_AS(static_cast<void>(generate<PredictingHiddenState>(chain, {request})), InputError);
  CHECK(cache.length() == 6);
}

namespace {

constexpr LlamaConfig tiny{.vocab = 40, .hidden = 48, .mlp = 64, .layers = 2, .heads = 4, .kv_heads = 2, .context = 64};

Llama<tiny> random_llama() {
  Llama<tiny> llm;
  test::fill_parameters(llm, 700);
  llm.prepare();
  return llm;
}

}  // namespace

TEST_CASE("with LLaMA a batch says what each sequence says alone, and states are those of a whole run") {
  const auto llm = random_llama();
  const auto request_for = [&](KvCache& cache, dim rows) {
    GenerationRequest request{.cache = &cache,
                              .prompt = test::random_tensor({rows, tiny.hidden}, static_cast<std::uint64_t>(rows))};
    request.sampling = {.temperature = 0.8, .top_k = 20, .seed = static_cast<std::uint64_t>(rows)};
    request.max_new_tokens = 4 + rows;
    return request;
  };
  std::vector<KvCache> caches;
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 3; ++i) caches.push_back(llm.make_cache());
  for (std::size_t i = 0; i < 3; ++i) requests.push_back(request_for(caches[i], 2 + 3 * static_cast<dim>(i)));
  std::vector<std::vector<at::Tensor>> states(3);
  const GenerationObserver observer{.on_prompt = {},
                                    .on_token =
                                        [&](std::size_t i, const GeneratedToken& token) {
                                          states[i].push_back(token.hidden.clone());
                                          return true;
                                        },
                                    .on_seg = {}};
  const auto together = generate<PredictingHiddenState>(llm, requests, observer);
  for (std::size_t i = 0; i < 3; ++i) {
    KvCache cache = llm.make_cache();
    GenerationRequest request = requests[i];
    request.cache = &cache;
    const Tokens tokens = generate<PredictingHiddenState>(llm, {request}).front().tokens;
    CHECK(together[i].tokens == tokens);
    // Prompt and answer in one piece, without a cache.
    const at::Tensor whole = at::cat({request.prompt, llm.embed(at::tensor(tokens, at::kLong))}, 0);
    const at::Tensor hidden = llm.forward(whole, std::vector<Segment>{{whole.size(0), nullptr}});
    const dim first = request.prompt.size(0) - 1;
    CHECK(test::relative_l2(at::stack(states[i]), hidden.narrow(0, first, static_cast<dim>(tokens.size()))) < 1e-5);
  }
}
