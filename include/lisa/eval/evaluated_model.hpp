#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/data/sample.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"

namespace lisa {

/// What a model says of its own accord.
struct SpokenAnswer {
  std::string text;            ///< without the end token
  std::vector<BitMask> masks;  ///< of the `[SEG]` of the question, then of the answer, at the image's size
};

/// A model as the evaluator uses it. All functions speak about the image that was set last.
struct EvaluatedModel {
  std::function<void(const Image& image)> set_image;
  /// The masks of whole dialogues, their answers given: for each dialogue one mask for every `[SEG]` of its questions
  /// and answers, in their order.
  std::function<std::vector<std::vector<BitMask>>(std::span<const Dialogue> dialogues)> teacher_forced;
  /// Answers each question as the first of a conversation of its own.
  std::function<std::vector<SpokenAnswer>(const std::vector<std::string>& questions)> ask_each;
  /// Forgets the conversation of `ask`.
  std::function<void()> reset;
  /// Answers the next question of a conversation.
  std::function<SpokenAnswer(std::string_view question)> ask;
};

}  // namespace lisa
