// Likely answers are run together with the question, and never change what is answered.

#include <algorithm>
#include <string>
#include <vector>

#include "lisa/model/predictor.hpp"
#include "tests/model/answer_difference.hpp"
#include "tests/model/golden_spec.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

Predictor<GoldenSpec> predictor_on(const GoldenCase& recorded) {
  Predictor<GoldenSpec> predictor(golden_model());
  predictor.set_image(recorded.image);
  return predictor;
}

AskOptions with_drafts(std::vector<std::string> drafts) {
  AskOptions options;
  options.drafts = std::move(drafts);
  return options;
}

}  // namespace

TEST_CASE("a usual answer is ready with its question, and so is that of the next turn") {
  const GoldenCase recorded("a1");  // answers "Sure, it is [SEG]."
  auto drafted = predictor_on(recorded), plain = predictor_on(recorded);
  for (int turn = 0; turn < 2; ++turn) {
    const Answer with = drafted.ask(recorded.question), without = plain.ask(recorded.question, with_drafts({}));
    CHECK(difference(with, without) == "");
    CHECK(without.drafted_tokens == 0);
    if (turn > 0) continue;  // what a random model says then, nobody knows
    CHECK(with.text == "Sure, it is [SEG] .");
    CHECK(with.drafted_tokens == static_cast<dim>(with.answer_ids.size()) - 1);
  }
  CHECK(drafted.conversation().prompt() == plain.conversation().prompt());
}

TEST_CASE("drafts that agree partly or never change no recorded answer") {
  for (const char* name : {"a1", "a2", "a3"}) {
    const GoldenCase recorded(name);
    const Answer plain = predictor_on(recorded).ask(recorded.question, with_drafts({}));
    const std::string half = plain.text.substr(0, plain.text.size() / 2);
    const auto check = [&](const std::vector<std::string>& drafts, bool agrees) {
      const Answer drafted = predictor_on(recorded).ask(recorded.question, with_drafts(drafts));
      CHECK(difference(drafted, plain) == "");
      CHECK((drafted.drafted_tokens > 0) == agrees);
    };
    check({plain.text}, true);
    check({half + " never"}, true);
    check({"never", half, plain.text}, true);
    check({"never"}, false);
    check({""}, false);
  }
}

TEST_CASE("text and masks of a drafted answer arrive in the order of a plain one") {
  const GoldenCase recorded("a2");  // three [SEG]
  const auto calls_with = [&](const std::vector<std::string>& drafts) {
    std::vector<std::string> calls;
    AskOptions options = with_drafts(drafts);
    options.on_text = [&](std::string_view text) {
      calls.emplace_back(text);
      return true;
    };
    options.on_mask = [&](const AnswerMask& mask) { calls.push_back("mask " + std::to_string(mask.token_index)); };
    (void)predictor_on(recorded).ask(recorded.question, options);
    return calls;
  };
  const std::vector<std::string> plain = calls_with({});
  CHECK(std::ranges::count_if(plain, [](const std::string& call) { return call.starts_with("mask"); }) == 3);
  CHECK(calls_with({predictor_on(recorded).ask(recorded.question).text}) == plain);
}

TEST_CASE("a trace, a text answer and a drawn answer use no drafts") {
  const GoldenCase recorded("a1");
  AnswerTrace trace;
  AskOptions traced, text_only, drawn;
  traced.trace = &trace;
  text_only.segmentation = Segmentation::off;
  drawn.sampling.temperature = 0.1;
  for (AskOptions* const options : {&traced, &text_only, &drawn}) {
    options->max_new_tokens = 6;
    CHECK(predictor_on(recorded).ask(recorded.question, *options).drafted_tokens == 0);
  }
}

TEST_CASE("a batch follows drafts as its questions alone do") {
  const GoldenCase recorded("a1");
  const std::vector<std::string> questions{recorded.question, "Please segment the cat.", recorded.question};
  auto predictor = predictor_on(recorded);
  const std::vector<Answer> together = predictor.ask_each(questions);
  for (std::size_t i = 0; i < questions.size(); ++i)
    CHECK(difference(together[i], predictor_on(recorded).ask(questions[i], with_drafts({}))) == "");
  CHECK(together[0].drafted_tokens == static_cast<dim>(together[0].answer_ids.size()) - 1);
}
