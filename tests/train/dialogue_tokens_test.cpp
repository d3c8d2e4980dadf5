// torch-free
#include "lisa/train/dialogue_tokens.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "lisa/text/tokenizer_files.hpp"

using namespace lisa;

namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = load_tokenizer(LISA_TEST_DATA "/golden/model_a");
  return loaded;
}

Dialogue dialogue(std::vector<Exchange> exchanges, std::size_t masks) {
  return {std::move(exchanges), std::vector<LabelMask>(masks, LabelMask{{1, 1}, {1}}), ""};
}

std::vector<std::int64_t> labelled(const DialogueTokens& tokens) {
  std::vector<std::int64_t> ids;
  for (const std::int64_t label : tokens.labels)
    if (label != ignored_label) ids.push_back(label);
  return ids;
}

/// What the model learns to say, as text.
std::string taught(const DialogueTokens& tokens) { return tokenizer().decode(labelled(tokens)); }

std::string message(const Dialogue& given, const DialogueFormat& format) {
  try {
    (void)tokenize_dialogue(given, tokenizer(), format, "set|7");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("every answer and its end is labelled, nothing else") {
  const Dialogue two = dialogue({{"Where is the dog?", "It is [SEG]."}, {"Why?", "Because it is warm."}}, 1);
  for (const ConversationTemplate& style : conversation_templates) {
    CAPTURE(style.name);
    const DialogueTokens tokens = tokenize_dialogue(two, tokenizer(), {.style = style}, "set|7");
    REQUIRE(tokens.labels.size() == tokens.ids.size());
    for (std::size_t i = 0; i < tokens.ids.size(); ++i)
      CHECK((tokens.labels[i] == ignored_label || tokens.labels[i] == tokens.ids[i]));
    std::string text = taught(tokens);
    std::erase(text, ' ');
    CHECK(text == "Itis[SEG].</s>Becauseitiswarm.</s>");
    Conversation whole(style);
    for (const Exchange& exchange : two.exchanges) {
      whole.add_user(exchange.question);
      whole.add_assistant(exchange.answer);
    }
    CHECK(tokens.ids == tokenizer().encode_with_images(whole.prompt()));
    REQUIRE(tokens.segs.size() == 1);
    CHECK(tokens.ids[tokens.segs[0]] == tokenizer().seg());
    CHECK(tokens.labels[tokens.segs[0]] == tokenizer().seg());
  }
}

TEST_CASE("a [SEG] of a question has a mask and no label") {
  const DialogueTokens tokens =
      tokenize_dialogue(dialogue({{"Is [SEG] larger than that?", "Yes, [SEG] is smaller."}}, 2), tokenizer(), {}, "s");
  REQUIRE(tokens.segs.size() == 2);
  CHECK(tokens.labels[tokens.segs[0]] == ignored_label);
  CHECK(tokens.labels[tokens.segs[1]] == tokenizer().seg());
}

TEST_CASE("an image counts with all its positions") {
  const DialogueTokens tokens = tokenize_dialogue(dialogue({{"Where?", "[SEG]."}}, 1), tokenizer(), {}, "s");
  CHECK(tokens.positions(256) == static_cast<dim>(tokens.ids.size()) + 255);
  CHECK(std::ranges::count(tokens.ids, image_token_id) == 1);
  CHECK(std::ranges::count(tokens.ids, tokenizer().im_start()) == 1);
  const DialogueTokens bare =
      tokenize_dialogue(dialogue({{"Where?", "[SEG]."}}, 1), tokenizer(), {.mark = bare_image_mark}, "s");
  CHECK(std::ranges::count(bare.ids, tokenizer().im_start()) == 0);
}

TEST_CASE("a dialogue that is too long loses its end, but never a [SEG]") {
  const Dialogue given = dialogue({{"Where is the dog?", "It is [SEG] because it likes to lie in the sun."}}, 1);
  const DialogueTokens whole = tokenize_dialogue(given, tokenizer(), {}, "s");
  const dim positions = whole.positions(256);
  const DialogueTokens cut = tokenize_dialogue(given, tokenizer(), {.max_positions = positions - 5}, "s");
  CHECK(cut.ids == std::vector(whole.ids.begin(), whole.ids.end() - 5));
  CHECK(cut.labels == std::vector(whole.labels.begin(), whole.labels.end() - 5));
  CHECK(cut.segs == whole.segs);
  const dim until_seg = static_cast<dim>(whole.segs[0]) + 255;
  CHECK(tokenize_dialogue(given, tokenizer(), {.max_positions = until_seg + 1}, "s").ids.back() == tokenizer().seg());
  CHECK(message(given, {.max_positions = until_seg}) ==
        "set|7: dialogue: found " + std::to_string(positions) +
            " positions, 256 of them the image, and a [SEG] behind the limit, expected at most " +
            std::to_string(until_seg));
  CHECK(contains(message(dialogue({{"Where is the dog?", "There."}}, 0), {.max_positions = 200}),
                 "expected at most 200"));
}

TEST_CASE("masks and [SEG] that differ in number are refused with the sample's name") {
  CHECK(message(dialogue({{"Where?", "[SEG] and [SEG]."}}, 1), {}) ==
        "set|7: dialogue: found 2 [SEG] in the text, expected 1, the number of its masks");
  CHECK(message(dialogue({{"Where?", "Here."}}, 1), {}) ==
        "set|7: dialogue: found 0 [SEG] in the text, expected 1, the number of its masks");
  CHECK(contains(message(dialogue({}, 0), {}), "set|7: dialogue: found no question"));
  CHECK(message(dialogue({{" ", "Here."}}, 0), {}) == "set|7: dialogue: prompt: found an empty question");
}
