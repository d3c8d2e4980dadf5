#include <ATen/ops/equal.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lisa/llm/decode_step.hpp"
#include "lisa/llm/generate.hpp"
#include "lisa/llm/llama.hpp"
#include "tests/gpu/checks.hpp"
#include "tests/support/tensor_compare.hpp"

namespace lisa::gpu_test {
namespace {

constexpr LlamaConfig small{
    .vocab = 300, .hidden = 512, .mlp = 640, .layers = 3, .heads = 8, .kv_heads = 4, .context = 200};
constexpr dim prompt_rows = 20;

Llama<small> random_model() {
  Llama<small> llm;
  test::fill_parameters(llm, 100, at::kBFloat16);
  llm.for_each_parameter("", [](const std::string&, at::Tensor& value, const Shape&) { value = value.to(at::kCUDA); });
  llm.prepare();
  return llm;
}

at::Tensor prompt() { return random_on_gpu({prompt_rows, small.hidden}, 7, at::kBFloat16); }

void run_prompt(const Llama<small>& llm, KvCache& cache) {
  const Segment segment{prompt_rows, &cache};
  static_cast<void>(llm.forward(prompt(), {&segment, 1}));
}

/// The same step three times: run, recorded and replayed.
void check_recording(Checks& checks, const Llama<small>& llm) {
  KvCache cache = llm.make_cache();
  run_prompt(llm, cache);
  DecodeStep<Llama<small>> step(llm, cache, at::kCUDA, -1);
  std::vector<at::Tensor> hidden, logits;
  for (int i = 0; i < 3; ++i) {
    step.start(5);
    const auto found = step.run(/*keep=*/true);
    hidden.push_back(found.hidden);
    logits.push_back(found.logits);
  }
  checks.equal("a step as it is recorded", at::equal(hidden[0], hidden[1]) && at::equal(logits[0], logits[1]));
  checks.equal("a step from the record", at::equal(hidden[0], hidden[2]) && at::equal(logits[0], logits[2]));
}

/// A recorded answer, and its tokens run one by one by operators that know their places.
void check_answer(Checks& checks, const Llama<small>& llm) {
  constexpr dim steps = 150;
  KvCache recorded = llm.make_cache(), plain = llm.make_cache();
  run_prompt(llm, recorded);
  run_prompt(llm, plain);
  DecodeStep<Llama<small>> step(llm, recorded, at::kCUDA, -1, DecodeQueue<Llama<small>>::most_queued);
  DecodeQueue<Llama<small>> queue(recorded, step, /*logits_wanted=*/true);
  std::int64_t token = 5;
  double worst = 0;
  bool greedy = true;
  for (dim i = 0; i < steps; ++i) {
    const Segment segment{1, &plain};
    const at::Tensor id = aten::full({1}, token, at::TensorOptions().dtype(at::kLong).device(at::kCUDA));
    const at::Tensor expected = llm.forward(llm.embed(id), {&segment, 1});
    const auto found = queue.next(token);
    worst = std::max(worst, test::relative_l2(found.hidden, expected));
    greedy = greedy && found.logits.argmax().item<std::int64_t>() == found.token;
    token = found.token;
  }
  checks.within("recorded steps, worst state", worst, 3e-2);  // of bf16 operators, as the CPU's comparisons
  checks.equal("recorded steps, the largest logit", greedy);
  checks.equal("recorded steps, the cache's length", recorded.length() == plain.length());
}

/// Answers one after the other in one cache, by steps that the first one has recorded, and by steps of their own.
void check_kept_steps(Checks& checks, const Llama<small>& llm) {
  KeptDecodeStep<Llama<small>> kept;
  KvCache caches[] = {llm.make_cache(), llm.make_cache()};
  for (int turn = 0; turn < 3; ++turn) {
    const auto say = [&](KvCache& cache, KeptDecodeStep<Llama<small>>* steps) {
      const GenerationRequest request{.cache = &cache, .prompt = prompt(), .max_new_tokens = 20};
      return generate<PredictingHiddenState>(llm, {request}, {}, steps).front().tokens;
    };
    checks.equal("turn " + std::to_string(turn) + " by kept steps", say(caches[0], &kept) == say(caches[1], nullptr));
  }
}

/// What `generate` says watched, and unwatched, where steps are queued ahead of the host.
void check_generation(Checks& checks, const Llama<small>& llm) {
  const auto say = [&](const GenerationObserver& observer, std::int64_t end_token) {
    KvCache cache = llm.make_cache();
    GenerationRequest request{.cache = &cache, .prompt = prompt(), .max_new_tokens = 100, .end_token = end_token};
    std::vector<std::int64_t> tokens = generate<PredictingHiddenState>(llm, {request}, observer).front().tokens;
    checks.equal("the cache of an answer of " + std::to_string(tokens.size()),
                 cache.length() == prompt_rows + static_cast<dim>(tokens.size()) - 1);
    return tokens;
  };
  std::vector<at::Tensor> told;  // as they were told: later steps must leave them alone
  const GenerationObserver observer{.on_token = [&](std::size_t, const GeneratedToken& token) {
    told.push_back(token.logits);
    return true;
  }};
  const std::vector<std::int64_t> endless = say(observer, -1);
  bool kept = told.size() == endless.size();
  for (std::size_t i = 0; kept && i < told.size(); ++i) kept = told[i].argmax().item<std::int64_t>() == endless[i];
  checks.equal("logits that an observer keeps", kept);
  checks.equal("an unwatched answer", say({}, -1) == endless);
  std::vector<std::int64_t> tokens;
  const GenerationObserver ahead{.on_token =
                                     [&](std::size_t, const GeneratedToken& token) {
                                       tokens.push_back(token.token);
                                       return true;
                                     },
                                 .states_wanted = false};
  checks.equal("an answer told behind the device", say(ahead, -1) == endless && tokens == endless);
  for (const std::size_t last : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{60}})
    checks.equal("an answer that ends", say({}, endless[last]) == say(observer, endless[last]));
}

}  // namespace

void check_decoding(Checks& checks) {
  const Llama<small> llm = random_model();
  check_recording(checks, llm);
  check_answer(checks, llm);
  check_generation(checks, llm);
  check_kept_steps(checks, llm);
}

}  // namespace lisa::gpu_test
