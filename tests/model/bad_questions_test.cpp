#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "lisa/model/predictor.hpp"
#include "tests/model/golden_spec.hpp"
#include "tests/support/bad_input.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

const std::string question = "Where is the dog in this image? Please output segmentation mask.";

Predictor<GoldenSpec> predictor_on_a1() {
  Predictor<GoldenSpec> predictor(golden_model());
  predictor.set_image(read_image(golden_folder + "a1/a1.png"));
  return predictor;
}

BadInput refused(std::string row, std::vector<std::string> words) {
  return {.row = std::move(row), .kind = ErrorKind::input, .words = std::move(words)};
}

}  // namespace

// Rows 135, 136, 137 and 141 of prompts as texts are in tests/text/conversation_test.cpp, rows 138, 139 and 143 of
// training in tests/train/dialogue_tokens_test.cpp and training_run_test.cpp. Row 144 has no counterpart: LISA prompts
// the mask decoder with vectors only, never with boxes or points.
TEST_CASE("rows 135 to 141: questions that a model cannot be asked") {
  std::string too_long;
  while (too_long.size() < 40'000) too_long += "dog ";
  Predictor<GoldenSpec> predictor = predictor_on_a1();
  Predictor<GoldenSpec> without_image(golden_model());
  const std::string context = std::to_string(GoldenSpec::llm.context);
  const std::vector<std::pair<BadInput, std::function<void()>>> table{
      {refused("135 no image", {"image", "set_image"}), [&] { (void)without_image.ask(question); }},
      {refused("135 no image, several questions", {"image", "set_image"}),
       [&] { (void)without_image.ask_each({question, question}); }},
      {refused("136 a second image", {"prompt", "<image>"}), [&] { (void)predictor.ask("<image> " + question); }},
      {refused("137 an image amid the question", {"prompt", "<image>"}),
       [&] { (void)predictor.ask("is <image> a dog?"); }},
      {refused("138 longer than the context", {"prompt", "positions", context}),
       [&] { (void)predictor.ask(too_long); }},
      {refused("138 one of several", {"prompt", "positions", context}),
       [&] { (void)predictor.ask_each({question, too_long}); }},
      {refused("141 empty", {"prompt", "empty question"}), [&] { (void)predictor.ask(""); }},
      {refused("141 blank, one of several", {"prompt", "empty question"}),
       [&] { (void)predictor.ask_each({question, " \t\n"}); }},
      {refused("no tokens", {"prompt", "no token"}), [&] { (void)predictor.answer_prompts({{}}); }},
  };
  for (const auto& [expected, attempt] : table) CHECK(broken_promises(expected, attempt) == "");
  // What was refused has left no trace in the conversation.
  const Answer after = predictor.ask(question), fresh = predictor_on_a1().ask(question);
  CHECK(after.prompt_ids == fresh.prompt_ids);
  CHECK(after.answer_ids == fresh.answer_ids);
}

TEST_CASE("row 142: prompts of a batch may differ in their images, and answer as alone") {
  const std::vector<std::vector<std::int64_t>> prompts{{1, image_token_id, 300, 301}, {1, 300, 301, 302}};
  AskOptions options;
  options.max_new_tokens = 4;
  const std::vector<Answer> together = predictor_on_a1().answer_prompts(prompts, options);
  REQUIRE(together.size() == prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::vector<Answer> alone = predictor_on_a1().answer_prompts({prompts[i]}, options);
    CHECK(together[i].answer_ids == alone.front().answer_ids);
    CHECK(together[i].masks.size() == alone.front().masks.size());
  }
}

TEST_CASE("row 140: an answer without [SEG] has no mask and is no error") {
  Predictor<GoldenSpec> predictor = predictor_on_a1();
  AskOptions options;
  options.forced_answer = {300, 301};
  const Answer answer = predictor.ask(question, options);
  CHECK(answer.answer_ids == options.forced_answer);
  CHECK(answer.masks.empty());
}
