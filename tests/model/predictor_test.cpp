#include "lisa/model/predictor.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "tests/model/answer_difference.hpp"
#include "tests/model/golden_spec.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

const std::string dog = "Where is the dog in this image? Please output segmentation mask.";
const std::string three = "Please segment the bird, the cup and the bottle.";
const std::string describe_it = "Describe the picture in one sentence.";

const Image& image_a1() {
  static const Image image = read_image(golden_folder + "a1/a1.png");
  return image;
}
const Image& image_a2() {
  static const Image image = read_image(golden_folder + "a2/a2.png");
  return image;
}

const Image& image_a3() {  // about which the model describes without segmenting
  static const Image image = read_image(golden_folder + "a3/a3.png");
  return image;
}

using GoldenPredictor = Predictor<GoldenSpec>;

GoldenPredictor predictor_on(const Image& image) {
  GoldenPredictor predictor(golden_model());
  predictor.set_image(image);
  return predictor;
}

AskOptions forced_seg(dim tokens = 12) {
  AskOptions options;
  options.max_new_tokens = tokens;
  options.segmentation = Segmentation::forced;
  return options;
}

/// The answer to a whole prompt, run from nothing.
Answer from_nothing(const Image& image, const std::vector<std::int64_t>& ids, std::size_t asked_from,
                    const AskOptions& options) {
  const auto& loaded = golden_model();
  StageTimes times;
  PreparedImage prepared = prepare_image(loaded.model, image, loaded.sam_preprocess, loaded.clip_preprocess, times);
  PromptCache cache(Lisa<GoldenSpec>::Backbone::make_cache());
  const std::vector<Question> questions{
      {.image = &prepared, .ids = ids, .asked_from = asked_from, .cache = &cache, .options = &options}};
  return answer_questions<GoldenSpec>(loaded.model, loaded.tokenizer, questions).front();
}

std::string error_of(GoldenPredictor& predictor, const std::string& question, const AskOptions& options = {}) {
  try {
    (void)predictor.ask(question, options);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no InputError";
}

}  // namespace

TEST_CASE("a second question on the same image gets the answer of a fresh predictor") {
  GoldenPredictor predictor = predictor_on(image_a2());
  const Answer first = predictor.ask(three);
  predictor.reset();
  const Answer second = predictor.ask(dog);
  predictor.reset();
  const Answer again = predictor.ask(three);
  CHECK(difference(second, predictor_on(image_a2()).ask(dog)) == "");
  CHECK(difference(again, first) == "");
  CHECK(first.times.vision_tower > 0);
  CHECK(first.times.image_encoder > 0);
  CHECK(again.times.vision_tower == 0);
  CHECK(again.times.image_encoder == 0);
}

TEST_CASE("a later turn equals running the whole conversation from nothing") {
  GoldenPredictor predictor = predictor_on(image_a1());
  std::vector<std::int64_t> history;
  for (const std::string& question : {dog, describe_it, three}) {
    CAPTURE(question);
    const AskOptions options = forced_seg();
    const Answer answer = predictor.ask(question, options);
    REQUIRE(answer.prompt_ids.size() > history.size());
    CHECK(std::equal(history.begin(), history.end(), answer.prompt_ids.begin()));
    CHECK(answer.masks.size() >= 1);
    const std::size_t asked_from = history.size();
    for (const AnswerMask& mask : answer.masks) CHECK(mask.token_index >= static_cast<dim>(asked_from));
    CHECK(difference(answer, from_nothing(image_a1(), answer.prompt_ids, asked_from, options)) == "");
    history = answer.prompt_ids;
    history.insert(history.end(), answer.answer_ids.begin(), answer.answer_ids.end());
    if (history.back() != golden_model().tokenizer.eos()) history.push_back(golden_model().tokenizer.eos());
  }
}

TEST_CASE("ids of a conversation are those of its whole text") {
  GoldenPredictor predictor = predictor_on(image_a1());
  (void)predictor.ask(dog);
  const std::string text_before = predictor.conversation().prompt();
  const Answer second = predictor.ask(three);
  CHECK(text_before.ends_with("</s>"));
  const std::string whole = predictor.conversation().prompt();
  CHECK(whole.starts_with(text_before));
  const auto ids = golden_model().tokenizer.encode_with_images(text_before + "USER: " + three + " ASSISTANT:");
  CHECK(ids == second.prompt_ids);
}

TEST_CASE("a new image starts anew, and going back does too") {
  GoldenPredictor predictor = predictor_on(image_a1());
  const Answer on_a1 = predictor.ask(dog);
  predictor.set_image(image_a2());
  const Answer on_a2 = predictor.ask(dog);
  CHECK(difference(on_a2, predictor_on(image_a2()).ask(dog)) == "");
  REQUIRE(on_a2.masks.size() >= 1);
  CHECK(on_a2.masks[0].bits.size() == image_a2().size());
  predictor.set_image(image_a1());
  CHECK(difference(predictor.ask(dog), on_a1) == "");
}

TEST_CASE("an image that cannot be used leaves image and conversation") {
  GoldenPredictor predictor = predictor_on(image_a1());
  const Answer first = predictor.ask(dog);
  const std::string text = predictor.conversation().prompt();
  CHECK_THROWS_AS(predictor.set_image(Image{}), InputError);
  CHECK(predictor.conversation().prompt() == text);
  predictor.reset();
  CHECK(difference(predictor.ask(dog), first) == "");
}

TEST_CASE("a batch of questions gets the answers of asking one at a time") {
  const std::vector<std::string> questions{dog, three, describe_it, dog};
  GoldenPredictor batch = predictor_on(image_a2());
  const std::vector<Answer> together = batch.ask_each(questions);
  REQUIRE(together.size() == questions.size());
  GoldenPredictor single = predictor_on(image_a2());
  for (std::size_t i = 0; i < questions.size(); ++i) {
    CAPTURE(i);
    single.reset();
    CHECK(difference(together[i], single.ask(questions[i])) == "");
  }
  CHECK(batch.ask_each({}).empty());
  CHECK(batch.conversation().prompt().empty());
}

TEST_CASE("a batch leaves the conversation alone") {
  GoldenPredictor predictor = predictor_on(image_a1()), undisturbed = predictor_on(image_a1());
  (void)predictor.ask(dog);
  (void)undisturbed.ask(dog);
  (void)predictor.ask_each({three, describe_it});
  CHECK(difference(predictor.ask(describe_it), undisturbed.ask(describe_it)) == "");
}

TEST_CASE("questions about several images answer together as alone") {
  const auto& loaded = golden_model();
  const AskOptions options;
  const auto ids = [](const Image& image, const std::string& question) {
    return predictor_on(image).ask(question).prompt_ids;
  };
  StageTimes times;
  PreparedImage one = prepare_image(loaded.model, image_a1(), loaded.sam_preprocess, loaded.clip_preprocess, times);
  PreparedImage two = prepare_image(loaded.model, image_a2(), loaded.sam_preprocess, loaded.clip_preprocess, times);
  PromptCache first(Lisa<GoldenSpec>::Backbone::make_cache()), second(Lisa<GoldenSpec>::Backbone::make_cache());
  const std::vector<Answer> together = answer_questions<GoldenSpec>(
      loaded.model, loaded.tokenizer,
      {{.image = &one, .ids = ids(image_a1(), dog), .cache = &first, .options = &options},
       {.image = &two, .image_serial = 1, .ids = ids(image_a2(), three), .cache = &second, .options = &options}});
  CHECK(difference(together.at(0), predictor_on(image_a1()).ask(dog)) == "");
  CHECK(difference(together.at(1), predictor_on(image_a2()).ask(three)) == "");
}

TEST_CASE("forced segmentation ends an answer without [SEG] with one") {
  AskOptions options;
  const Answer plain = predictor_on(image_a3()).ask(describe_it, options);
  REQUIRE(plain.masks.empty());
  options.segmentation = Segmentation::forced;
  const Answer forced = predictor_on(image_a3()).ask(describe_it, options);
  CHECK(forced.masks.size() == 1);
  const std::int64_t seg = golden_model().tokenizer.seg();
  CHECK(std::ranges::count(forced.answer_ids, seg) == 1);
  CHECK(std::equal(plain.answer_ids.begin(), plain.answer_ids.end() - 1, forced.answer_ids.begin()));
  CHECK(forced.text.find("[SEG]") != std::string::npos);
  // An answer that has its own [SEG] is left as it is.
  CHECK(difference(predictor_on(image_a1()).ask(dog, options), predictor_on(image_a1()).ask(dog)) == "");
}

TEST_CASE("text only: no [SEG], no masks, no image encoder") {
  AskOptions options;
  options.segmentation = Segmentation::off;
  options.max_new_tokens = 20;
  const Answer answer = predictor_on(image_a1()).ask(dog, options);
  CHECK(std::ranges::count(answer.answer_ids, golden_model().tokenizer.seg()) == 0);
  CHECK(answer.masks.empty());
  CHECK(answer.times.image_encoder == 0);
}

TEST_CASE("an answer without [SEG] does not run the image encoder unless asked to") {
  GoldenPredictor predictor = predictor_on(image_a3());
  const Answer lazy = predictor.ask(describe_it);
  CHECK(lazy.masks.empty());
  CHECK(lazy.times.image_encoder == 0);
  CHECK_FALSE(predictor.image().embedding.defined());
  predictor.set_image(image_a3(), EncoderStart::at_once);
  CHECK(predictor.image().embedding.defined());
  CHECK(predictor.ask(describe_it).times.image_encoder > 0);
}

TEST_CASE("max_new_tokens cuts an answer, and the next turn closes it") {
  GoldenPredictor predictor = predictor_on(image_a1());
  AskOptions options;
  options.max_new_tokens = 3;
  const Answer cut = predictor.ask(dog, options);
  CHECK(cut.answer_ids.size() == 3);
  CHECK(cut.stopped_by == StopReason::max_new_tokens);
  const Answer next = predictor.ask(three);
  const std::size_t closed_at = cut.prompt_ids.size() + 3;
  REQUIRE(next.prompt_ids.size() > closed_at);
  CHECK(next.prompt_ids[closed_at] == golden_model().tokenizer.eos());
}

TEST_CASE("a stop string ends an answer and is no part of it") {
  const std::string whole = predictor_on(image_a3()).ask(describe_it).text;
  REQUIRE(whole.find("who reads") != std::string::npos);
  AskOptions options;
  options.stop = {"never said", "who reads"};
  std::string streamed;
  options.on_text = [&](std::string_view text) {
    streamed += text;
    return true;
  };
  const Answer answer = predictor_on(image_a3()).ask(describe_it, options);
  CHECK(answer.text == whole.substr(0, whole.find("who reads")));
  CHECK(streamed == answer.text);
  CHECK(answer.stopped_by == StopReason::callback);
}

TEST_CASE("text and masks arrive while the answer grows") {
  std::string streamed;
  std::vector<std::size_t> text_at_mask;
  std::vector<dim> mask_tokens;
  AskOptions options;
  options.on_text = [&](std::string_view text) {
    streamed += text;
    return true;
  };
  options.on_mask = [&](const AnswerMask& mask) {
    text_at_mask.push_back(streamed.size());
    mask_tokens.push_back(mask.token_index);
  };
  const Answer answer = predictor_on(image_a2()).ask(three, options);
  CHECK(streamed == answer.text);
  REQUIRE(answer.masks.size() == 3);
  REQUIRE(mask_tokens.size() == 3);
  std::size_t earlier = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(mask_tokens[i] == answer.masks[i].token_index);
    CHECK(text_at_mask[i] >= earlier);
    // Called in the step that chooses the token, so its text and all behind it are still to come.
    CHECK(text_at_mask[i] <= answer.text.find("[SEG]", earlier));
    earlier = answer.text.find("[SEG]", earlier) + 1;
  }
}

TEST_CASE("a text callback that says no ends the answer") {
  AskOptions options;
  int calls = 0;
  options.on_text = [&](std::string_view) { return ++calls < 2; };
  const Answer answer = predictor_on(image_a1()).ask(describe_it, options);
  CHECK(answer.stopped_by == StopReason::callback);
  CHECK(answer.answer_ids.size() < predictor_on(image_a1()).ask(describe_it).answer_ids.size());
}

TEST_CASE("a forced answer is said whatever the model would say") {
  const Tokenizer& tokenizer = golden_model().tokenizer;
  AskOptions options;
  options.forced_answer = {tokenizer.seg(), 300, tokenizer.seg(), 301};
  const Answer answer = predictor_on(image_a1()).ask(describe_it, options);
  CHECK(answer.answer_ids == options.forced_answer);
  CHECK(answer.stopped_by == StopReason::forced_answer);
  REQUIRE(answer.masks.size() == 2);
  const auto start = static_cast<dim>(answer.prompt_ids.size());
  CHECK(answer.masks[0].token_index == start);
  CHECK(answer.masks[1].token_index == start + 2);
}

TEST_CASE("[SEG] in a question asks for a mask, whatever the cache holds") {
  const std::string question = "Is [SEG] a dog?";
  const auto is_in_prompt = [](const Answer& answer) {
    REQUIRE(answer.masks.size() >= 1);
    const dim index = answer.masks[0].token_index;
    REQUIRE(index < static_cast<dim>(answer.prompt_ids.size()));
    CHECK(answer.prompt_ids[static_cast<std::size_t>(index)] == golden_model().tokenizer.seg());
  };
  GoldenPredictor predictor = predictor_on(image_a1());
  const Answer first = predictor.ask(question);
  is_in_prompt(first);
  predictor.reset();
  CHECK(difference(predictor.ask(question), first) == "");
  for (const Answer& answer : predictor.ask_each({question, question})) CHECK(difference(answer, first) == "");

  // A question of a conversation brings its own masks only.
  (void)predictor.ask_each({dog});
  predictor.reset();
  (void)predictor.ask(question);
  const Answer later = predictor.ask(describe_it, forced_seg());
  for (const AnswerMask& mask : later.masks) CHECK(mask.token_index >= static_cast<dim>(later.prompt_ids.size()));
  const Answer last = predictor.ask(question);
  is_in_prompt(last);
  CHECK(last.masks[0].token_index > static_cast<dim>(later.prompt_ids.size()));

  AskOptions off;
  off.segmentation = Segmentation::off;
  CHECK(predictor_on(image_a1()).ask(question, off).masks.empty());
}

TEST_CASE("equal seeds give equal answers, other seeds others") {
  AskOptions options;
  options.sampling = {.temperature = 4.0, .top_p = 0.99, .top_k = 200, .seed = 7};
  options.max_new_tokens = 12;
  const Answer first = predictor_on(image_a1()).ask(dog, options);
  CHECK(difference(predictor_on(image_a1()).ask(dog, options), first) == "");
  GoldenPredictor predictor = predictor_on(image_a1());
  CHECK(predictor.ask_each({three, dog}, options).at(1).answer_ids == first.answer_ids);
  options.sampling.seed = 8;
  CHECK(predictor_on(image_a1()).ask(dog, options).answer_ids != first.answer_ids);
}

TEST_CASE("after an error the conversation is as before") {
  GoldenPredictor empty(golden_model());
  CHECK(error_of(empty, dog).find("image") != std::string::npos);
  CHECK_THROWS_AS((void)empty.ask_each({dog}), InputError);
  CHECK_THROWS_AS((void)empty.image(), InputError);
  CHECK_FALSE(empty.has_image());

  GoldenPredictor predictor = predictor_on(image_a1()), undisturbed = predictor_on(image_a1());
  (void)predictor.ask(dog);
  (void)undisturbed.ask(dog);
  const std::string text = predictor.conversation().prompt();
  std::string long_question;
  for (int i = 0; i < 3000; ++i) long_question += "dog ";
  AskOptions no_tokens, cold, unknown_token;
  no_tokens.max_new_tokens = 0;
  cold.sampling.temperature = -1;
  unknown_token.forced_answer = {300, 704};
  struct Wrong {
    std::string question;
    AskOptions options;
    std::string word;
  };
  for (const Wrong& wrong : {Wrong{"", {}, "empty"}, Wrong{" \n\t", {}, "empty"}, Wrong{"<image> what?", {}, "<image>"},
                             Wrong{long_question, {}, "2048"}, Wrong{three, no_tokens, "max_new_tokens"},
                             Wrong{three, cold, "temperature"}, Wrong{three, unknown_token, "704"}}) {
    CAPTURE(wrong.word);
    const std::string message = error_of(predictor, wrong.question, wrong.options);
    CHECK(message.find(wrong.word) != std::string::npos);
    CHECK(error_of(predictor, wrong.question, wrong.options) == message);
    CHECK(predictor.conversation().prompt() == text);
  }
  CHECK(difference(predictor.ask(three), undisturbed.ask(three)) == "");
}

TEST_CASE("an exception from a callback leaves the conversation as before") {
  GoldenPredictor predictor = predictor_on(image_a1()), undisturbed = predictor_on(image_a1());
  AskOptions options;
  options.on_mask = [](const AnswerMask&) { throw InputError("callback", "stopped"); };
  CHECK_THROWS_AS((void)predictor.ask(dog, options), InputError);
  CHECK(predictor.conversation().prompt().empty());
  CHECK(difference(predictor.ask(dog), undisturbed.ask(dog)) == "");
}

TEST_CASE("a trace of a batch is refused") {
  GoldenPredictor predictor = predictor_on(image_a1());
  AnswerTrace trace;
  AskOptions options;
  options.trace = &trace;
  CHECK_THROWS_AS((void)predictor.ask_each({dog}, options), InputError);
}
