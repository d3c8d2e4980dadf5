// torch-free
#include "lisa/text/conversation.hpp"

#include <rapidcheck.h>

#include <string>
#include <vector>

#include "lisa/files/json.hpp"
#include "lisa/text/lisa_templates.hpp"
#include "lisa/text/tokenizer.hpp"
#include "lisa/text/tokenizer_files.hpp"
#include "tests/support/bad_input.hpp"

#include <doctest/doctest.h>

using namespace lisa;
using lisa::test::broken_promises;

TEST_CASE("prompts equal the original's") {
  const Json golden = read_json(LISA_TEST_DATA "/golden/units/templates.json");
  REQUIRE(golden["rows"].size() == 8);
  for (const Json& row : golden["rows"]) {
    Conversation conversation(conversation_template(row["template"].get<std::string>()), "");
    for (const Json& turn : row["turns"]) {
      conversation.add_user(turn[0].get<std::string>());
      if (const auto answer = turn[1].get<std::string>(); !answer.empty()) conversation.add_assistant(answer);
    }
    CHECK(conversation.prompt() == row["prompt"].get<std::string>());
  }
}

TEST_CASE("prompts about an image equal those of the recorded answers") {
  for (const char* name : {"a1", "a2", "a3"}) {
    const std::string folder = std::string(LISA_TEST_DATA "/golden/") + name + "/";
    const Json golden = read_json(folder + name + ".json");
    Conversation conversation(conversation_template(golden["conv_type"].get<std::string>()));
    conversation.add_user(golden["question"].get<std::string>());
    CHECK(conversation.prompt() == golden["prompt"].get<std::string>());
    CHECK_NOTHROW(require_one_image(conversation.prompt()));
  }
}

TEST_CASE("a continuation's ids are the tail of the whole prompt's ids") {
  const Tokenizer tokenizer = load_tokenizer(LISA_TEST_DATA "/golden/model_a");
  CHECK(rc::check("for any questions and answers", [&] {
    const auto words = rc::gen::elementOf(std::vector<std::string>{
        "dog", " ", "Why?", "[SEG]", ".", "\n", "</s>", "<s>", "\xC2\xA0", "\xE4\xBD\xA0", "segment the", "<im_end>"});
    const auto text = rc::gen::map(rc::gen::container<std::vector<std::string>>(words), [](const auto& parts) {
      std::string joined = "x";
      for (const std::string& part : parts) joined += part;
      return joined;
    });
    for (const ConversationTemplate& style : conversation_templates) {
      Conversation conversation(style);
      for (int turn = 0; turn < 2; ++turn) {
        conversation.add_user(*text);
        conversation.add_assistant(*text);
      }
      const auto before = tokenizer.encode_with_images(conversation.prompt());
      const std::string question = *text;
      const auto piece = tokenizer.encode_continuation(conversation.continuation(question));
      conversation.add_user(question);
      auto expected = before;
      expected.insert(expected.end(), piece.begin(), piece.end());
      RC_ASSERT(before.back() == tokenizer.eos());
      RC_ASSERT(tokenizer.encode_with_images(conversation.prompt()) == expected);
    }
  }));
}

TEST_CASE("rows 135, 136, 137, 141: prompts that cannot be used") {
  const auto row = [](std::string name, std::vector<std::string> words) {
    return test::BadInput{.row = std::move(name), .kind = ErrorKind::input, .words = std::move(words)};
  };
  const auto ask = [](const char* question) { return [=] { Conversation(llava_v1).add_user(question); }; };
  const auto table = std::vector<std::pair<test::BadInput, std::function<void()>>>{
      {row("135", {"prompt", "0 \"<image>\"", "exactly 1"}), [] { require_one_image("a dog"); }},
      {row("136", {"prompt", "2 \"<image>\"", "exactly 1"}), [] { require_one_image("<image> and <image>"); }},
      {row("137", {"prompt", "<image>", "before the first question"}), ask("look at <image> please")},
      {row("141 empty", {"prompt", "empty question"}), ask("")},
      {row("141 blank", {"prompt", "empty question"}), ask(" \n\xE3\x80\x80\t")},
      {row("no question", {"question first"}), [] { Conversation(llava_v1).add_assistant("yes"); }},
      {row("two questions", {"an answer first"}),
       [] {
         Conversation conversation(llava_v1);
         conversation.add_user("a");
         conversation.add_user("b");
       }},
      {row("template", {"\"vicuna\"", "llava_v1 or llava_llama_2"}), [] { (void)conversation_template("vicuna"); }},
  };
  for (const auto& [expected, attempt] : table) CHECK(broken_promises(expected, attempt) == "");
}

TEST_CASE("a refused question changes nothing") {
  Conversation conversation(llava_v1);
  conversation.add_user("What?");
  const std::string before = conversation.prompt();
  CHECK_THROWS_AS(conversation.add_user("again"), InputError);
  CHECK_THROWS_AS(conversation.add_assistant("<image>"), InputError);
  CHECK(conversation.prompt() == before);
  CHECK(conversation.awaits_answer());
}

TEST_CASE("LISA's templates are filled at their slot") {
  CHECK(fill_slot(short_questions[3], class_name_slot, "dog") ==
        "What is dog in this image? Please output segmentation mask.");
  CHECK(fill_slot(long_questions[1], sentence_slot, "Who barks?") == "Who barks? Please output segmentation mask.");
  CHECK_THROWS_AS((void)fill_slot(explanatory_requests[0], sentence_slot, "x"), InputError);
  for (const std::string_view answer : answers) CHECK(answer.find("[SEG]") != std::string_view::npos);
}
