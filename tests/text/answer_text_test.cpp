// torch-free
#include "lisa/text/answer_text.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "lisa/text/tokenizer_files.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = load_tokenizer(LISA_TEST_DATA "/golden/model_a");
  return loaded;
}

/// Ids of a text without the beginning-of-sequence token.
std::vector<std::int64_t> ids_of(const std::string& text) {
  std::vector<std::int64_t> ids = tokenizer().encode(text);
  std::erase(ids, tokenizer().bos());
  return ids;
}

struct Told {
  std::string certain;    ///< everything handed out, in the order it came
  std::string text;       ///< the whole text
  std::size_t taken = 0;  ///< tokens after which a stop string was complete; all when none was
};

Told tell(const std::vector<std::int64_t>& ids, const std::vector<std::string>& stops) {
  AnswerText answer(tokenizer(), stops);
  Told told;
  for (const std::int64_t id : ids) {
    ++told.taken;
    const bool go_on = answer.push(id);
    told.certain += answer.take_certain();
    if (!go_on) break;
  }
  told.text = answer.finish();
  told.certain += answer.take_certain();
  return told;
}

}  // namespace

TEST_CASE("without stop strings the text is the decoded answer") {
  const std::string said = "It is the cat on the left, [SEG].";
  const auto ids = ids_of(said);
  REQUIRE(ids.size() > 5);
  const Told told = tell(ids, {});
  CHECK(told.text == tokenizer().decode(ids, true));
  CHECK(told.certain == told.text);
  CHECK(told.taken == ids.size());
}

TEST_CASE("the text ends before a stop string that spans tokens") {
  const auto ids = ids_of("the first ### and more");
  const Told told = tell(ids, {"###"});
  const std::string whole = tokenizer().decode(ids, true);
  CHECK(told.text == whole.substr(0, whole.find("###")));
  CHECK(told.certain == told.text);
  CHECK(told.taken < ids.size());
}

TEST_CASE("the beginning of a stop string is held back until it is known not to be one") {
  const auto ids = ids_of("a#b");
  AnswerText answer(tokenizer(), {"##"});
  std::string certain;
  for (const std::int64_t id : ids) {
    CHECK(answer.push(id));
    certain += answer.take_certain();
    CHECK_FALSE(certain.ends_with("#"));
  }
  CHECK(certain == "a#b");
  CHECK(answer.finish() == "a#b");
  const Told open = tell(ids_of("a#"), {"##"});  // the answer ends with half a stop string: that is text
  CHECK(open.text.ends_with("a#"));
  CHECK(open.certain == open.text);
}

TEST_CASE("the stop string that comes first ends the text, and empty ones never do") {
  const auto ids = ids_of("one two three");
  CHECK(tell(ids, {"three", "two"}).text == "one ");
  CHECK(tell(ids, {"", "two"}).text == "one ");
  CHECK(tell(ids, {""}).text == "one two three");
}

TEST_CASE("tokens after a stop string change nothing") {
  AnswerText answer(tokenizer(), {"two"});
  for (const std::int64_t id : ids_of("one two")) static_cast<void>(answer.push(id));
  const std::string text = answer.finish();
  CHECK_FALSE(answer.push(ids_of("three").front()));
  CHECK(answer.finish() == text);
  CHECK(text == "one ");
}

TEST_CASE("what was handed out is the final text, cut before the first stop string, for any tokens") {
  CHECK(rc::check([] {
    const auto ids = *rc::gen::container<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(3, 704));
    const std::string whole = tokenizer().decode(ids, true);
    std::vector<std::string> stops;
    if (!whole.empty() && *rc::gen::arbitrary<bool>()) {
      const auto begin = *rc::gen::inRange<std::size_t>(0, whole.size());
      stops.push_back(whole.substr(begin, *rc::gen::inRange<std::size_t>(1, 6)));
    }
    if (*rc::gen::arbitrary<bool>()) stops.push_back("</s>");
    std::size_t end = whole.size();
    for (const std::string& stop : stops) end = std::min(end, whole.find(stop));
    const Told told = tell(ids, stops);
    RC_ASSERT(told.text == whole.substr(0, end));
    RC_ASSERT(told.certain == told.text);
  }));
}
