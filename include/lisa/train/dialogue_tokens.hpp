#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/text/conversation.hpp"
#include "lisa/text/image_placeholder.hpp"
#include "lisa/text/tokenizer.hpp"

namespace lisa {

/// Label of a token that no loss is computed for (LISA utils/utils.py, IGNORE_INDEX).
inline constexpr std::int64_t ignored_label = -100;

/// How a dialogue becomes token ids.
struct DialogueFormat {
  ConversationTemplate style = llava_v1;
  std::string_view mark = image_mark;  ///< what stands for the image before the first question
  dim visual_tokens = 256;             ///< positions of the image
  dim max_positions = 512;             ///< longest dialogue, the image's positions included (LISA: model_max_length)
};

/// A dialogue as the language model is trained on it.
struct DialogueTokens {
  std::vector<std::int64_t> ids;     ///< `image_token_id` where the image stands
  std::vector<std::int64_t> labels;  ///< the ids of answers and their ends, `ignored_label` elsewhere
  std::vector<std::size_t> segs;     ///< indices of the `[SEG]` that have a mask, ascending

  /// Positions in the language model.
  [[nodiscard]] dim positions(dim visual_tokens) const {
    return static_cast<dim>(ids.size()) + std::ranges::count(ids, image_token_id) * (visual_tokens - 1);
  }
};

namespace detail {

/// Ids of the whole dialogue, every answer's tokens and end token labelled.
inline DialogueTokens label_answers(const Dialogue& dialogue, const Tokenizer& tokenizer,
                                    const DialogueFormat& format) {
  Conversation conversation(format.style, format.mark);
  DialogueTokens tokens;
  for (const Exchange& exchange : dialogue.exchanges) {
    conversation.add_user(exchange.question);
    const std::vector<std::int64_t> asked = tokenizer.encode_with_images(conversation.prompt());
    conversation.add_assistant(exchange.answer);
    tokens.ids = tokenizer.encode_with_images(conversation.prompt());
    const auto unchanged = std::ranges::mismatch(asked, tokens.ids).in2 - tokens.ids.begin();
    tokens.labels.resize(static_cast<std::size_t>(unchanged), ignored_label);
    tokens.labels.insert(tokens.labels.end(), tokens.ids.begin() + unchanged, tokens.ids.end());
  }
  return tokens;
}

inline void truncate(DialogueTokens& tokens, const DialogueFormat& format, const std::string& sample) {
  const dim positions = tokens.positions(format.visual_tokens);
  if (positions <= format.max_positions) return;
  const dim kept = static_cast<dim>(tokens.ids.size()) - (positions - format.max_positions);
  const auto text = [](dim count) { return std::to_string(count); };
  const auto image = std::ranges::find(tokens.ids, image_token_id) - tokens.ids.begin();
  const bool loses_seg = !tokens.segs.empty() && static_cast<dim>(tokens.segs.back()) >= kept;
  if (loses_seg || kept <= image)
    throw InputError(printable(sample), "dialogue",
                     found_expected(text(positions) + " positions, " + text(format.visual_tokens) +
                                        " of them the image" + (loses_seg ? ", and a [SEG] behind the limit" : ""),
                                    "at most " + text(format.max_positions)));
  tokens.ids.resize(static_cast<std::size_t>(kept));
  tokens.labels.resize(static_cast<std::size_t>(kept));
}

}  // namespace detail

/// Token ids and labels of a dialogue (LISA utils/dataset.py, collate_fn): a loss is computed for the tokens of every
/// answer and the `</s>` behind it. What exceeds `max_positions` is cut off behind.
/// @param sample names the sample in messages
/// @throws InputError for a dialogue without exchange, with a blank question, with more or fewer masks than `[SEG]`, or
/// so
///         long that a `[SEG]` or the image would be cut off
[[nodiscard]] inline DialogueTokens tokenize_dialogue(const Dialogue& dialogue, const Tokenizer& tokenizer,
                                                      const DialogueFormat& format, const std::string& sample) {
  if (dialogue.exchanges.empty())
    throw InputError(printable(sample), "dialogue", "found no question, expected at least one");
  DialogueTokens tokens;
  try {
    tokens = detail::label_answers(dialogue, tokenizer, format);
  } catch (const InputError& error) {
    throw InputError(printable(sample), "dialogue", error.what());
  }
  // The very first id has no state before it; the original leaves it out as well.
  const std::int64_t seg = tokenizer.seg();
  for (std::size_t i = 1; i < tokens.ids.size(); ++i)
    if (tokens.ids[i] == seg) tokens.segs.push_back(i);
  if (tokens.segs.size() != dialogue.masks.size())
    throw InputError(printable(sample), "dialogue",
                     found_expected(std::to_string(tokens.segs.size()) + " [SEG] in the text",
                                    std::to_string(dialogue.masks.size()) + ", the number of its masks"));
  detail::truncate(tokens, format, sample);
  return tokens;
}

}  // namespace lisa
