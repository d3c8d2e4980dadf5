#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/data/sample.hpp"
#include "lisa/eval/evaluated_model.hpp"
#include "lisa/model/predictor.hpp"
#include "lisa/text/conversation.hpp"

namespace lisa {

/// Token ids of a whole dialogue with its answers, as the original's validation reads it.
/// @throws InputError for a blank question or text that holds "<image>"
template <ModelSpec S>
[[nodiscard]] std::vector<std::int64_t> dialogue_ids(const Predictor<S>& predictor, const Dialogue& dialogue) {
  Conversation conversation = predictor.empty_conversation();
  for (const Exchange& exchange : dialogue.exchanges) {
    conversation.add_user(exchange.question);
    conversation.add_assistant(exchange.answer);
  }
  return predictor.model().tokenizer.encode_with_images(conversation.prompt());
}

/// The masks of dialogues whose answers are given (LISA train_ds.py `validate` with LISA.py
/// `model_forward(inference)`): every `[SEG]` of a question or answer is decoded from the hidden state that belongs to
/// it. Nothing is generated. All dialogues run as one packed batch after what they begin with, which is run once; their
/// masks share the image's embedding.
/// @return for each dialogue its masks in the order of their tokens
/// @throws InputError without an image, for a dialogue that cannot be a prompt or exceeds the model's context
template <ModelSpec S>
[[nodiscard]] std::vector<std::vector<AnswerMask>> teacher_forced_masks(Predictor<S>& predictor,
                                                                        std::span<const Dialogue> dialogues) {
  std::vector<std::vector<std::int64_t>> prompts;
  for (const Dialogue& dialogue : dialogues) prompts.push_back(dialogue_ids(predictor, dialogue));
  // Masks come with the prompt; the end token ends the answer before anything is generated.
  AskOptions nothing_more;
  nothing_more.forced_answer = {predictor.model().tokenizer.eos()};
  nothing_more.drafts.clear();
  std::vector<std::vector<AnswerMask>> masks;
  for (Answer& answer : predictor.answer_prompts(std::move(prompts), nothing_more))
    masks.push_back(std::move(answer.masks));
  return masks;
}

/// A predictor's model for the evaluator.
/// @param predictor must outlive the result
/// @param options   how free-running answers are generated
template <ModelSpec S>
[[nodiscard]] EvaluatedModel evaluated_model(Predictor<S>& predictor, const AskOptions& options = {}) {
  const auto bits_of = [](std::vector<AnswerMask> masks) {
    std::vector<BitMask> bits;
    for (AnswerMask& mask : masks) bits.push_back(std::move(mask.bits));
    return bits;
  };
  const auto spoken = [bits_of](Answer answer) {
    return SpokenAnswer{std::move(answer.text), bits_of(std::move(answer.masks))};
  };
  EvaluatedModel model;
  model.set_image = [&predictor](const Image& image) { predictor.set_image(image, EncoderStart::beside); };
  model.teacher_forced = [&predictor, bits_of](std::span<const Dialogue> dialogues) {
    std::vector<std::vector<BitMask>> masks;
    for (std::vector<AnswerMask>& of_dialogue : teacher_forced_masks(predictor, dialogues))
      masks.push_back(bits_of(std::move(of_dialogue)));
    return masks;
  };
  model.ask_each = [&predictor, options, spoken](const std::vector<std::string>& questions) {
    std::vector<SpokenAnswer> answers;
    for (Answer& answer : predictor.ask_each(questions, options)) answers.push_back(spoken(std::move(answer)));
    return answers;
  };
  model.reset = [&predictor] { predictor.reset(); };
  model.ask = [&predictor, options, spoken](std::string_view question) {
    return spoken(predictor.ask(question, options));
  };
  return model;
}

}  // namespace lisa
