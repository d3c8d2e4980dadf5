// torch-free
#include "lisa/text/answer_text.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lisa/text/tokenizer_files.hpp"

#include <doctest/doctest.h>

namespace {

using namespace lisa;
using Ids = std::vector<std::int64_t>;

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = load_tokenizer(LISA_TEST_DATA "/golden/model_a");
  return loaded;
}

Ids ids_of(const std::string& text) {
  Ids ids = tokenizer().encode(text);
  ids.erase(ids.begin());  // bos
  return ids;
}

struct Outcome {
  std::string text, streamed;
  bool stopped = false;
  bool consistent = true;  ///< at every step, what was handed out begins the final text
};

Outcome say(const Ids& ids, std::vector<std::string> stops) {
  AnswerText answer(tokenizer(), std::move(stops));
  Outcome outcome;
  std::vector<std::string> steps;
  for (const std::int64_t id : ids) {
    const bool go_on = answer.push(id);
    outcome.streamed += answer.take_certain();
    steps.push_back(outcome.streamed);
    if (!go_on) {
      outcome.stopped = true;
      break;
    }
  }
  outcome.text = answer.finish();
  outcome.streamed += answer.take_certain();
  for (const std::string& step : steps) outcome.consistent = outcome.consistent && outcome.text.starts_with(step);
  return outcome;
}

}  // namespace

TEST_CASE("without stop strings the text is that of the tokenizer") {
  const Ids ids = ids_of("Sure, it is [SEG] . There is a man");
  const Outcome outcome = say(ids, {""});
  CHECK(outcome.text == tokenizer().decode(ids, true));
  CHECK(outcome.streamed == outcome.text);
  CHECK_FALSE(outcome.stopped);
}

TEST_CASE("an answer ends before the first stop string, also where that spans tokens") {
  const Ids ids = ids_of("There is a man who reads a book");
  const Outcome outcome = say(ids, {"book", "an who re"});
  CHECK(outcome.stopped);
  CHECK(outcome.text == "There is a m");
  CHECK(outcome.streamed == outcome.text);
}

TEST_CASE("the beginning of a stop string is held back until it is certain") {
  AnswerText answer(tokenizer(), {"man on the moon"});
  std::string streamed;
  for (const std::int64_t id : ids_of("There is a man")) {
    CHECK(answer.push(id));
    streamed += answer.take_certain();
  }
  CHECK(streamed == "There is a ");
  CHECK(answer.finish() == "There is a man");
  streamed += answer.take_certain();
  CHECK(streamed == "There is a man");
}

TEST_CASE("tokens behind a stop string change nothing") {
  AnswerText answer(tokenizer(), {"man"});
  for (const std::int64_t id : ids_of("There is a man who reads")) (void)answer.push(id);
  CHECK(answer.finish() == "There is a ");
}

TEST_CASE("what is handed out never changes and adds up to the text") {
  CHECK(rc::check([] {
    const auto ids = *rc::gen::container<Ids>(rc::gen::inRange<std::int64_t>(0, 704));
    const auto stops = *rc::gen::container<std::vector<std::string>>(
        rc::gen::container<std::string>(rc::gen::elementOf(std::string("aeinst "))));
    const Outcome outcome = say(ids, stops);
    RC_ASSERT(outcome.consistent);
    RC_ASSERT(outcome.streamed == outcome.text);
    const std::string whole = tokenizer().decode(ids, true);
    RC_ASSERT(whole.starts_with(outcome.text));
    std::size_t first = std::string::npos;
    for (const std::string& stop : stops)
      if (!stop.empty()) first = std::min(first, whole.find(stop));
    RC_ASSERT(outcome.text == whole.substr(0, first));
  }));
}
