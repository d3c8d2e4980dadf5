#pragma once

#include <array>
#include <string>
#include <string_view>

#include "lisa/base/error.hpp"

namespace lisa {

/// Where a class name goes in `short_questions`.
inline constexpr std::string_view class_name_slot = "{class_name}";
/// Where a sentence goes in `long_questions`.
inline constexpr std::string_view sentence_slot = "{sent}";

/// Questions about a class, which LISA lower-cases (LISA utils/utils.py, SHORT_QUESTION_LIST; the image in front is
/// the conversation's).
inline constexpr std::array<std::string_view, 4> short_questions{
    "Can you segment the {class_name} in this image?",
    "Please segment the {class_name} in this image.",
    "What is {class_name} in this image? Please respond with segmentation mask.",
    "What is {class_name} in this image? Please output segmentation mask.",
};

/// Questions made of a whole sentence (LISA utils/utils.py, LONG_QUESTION_LIST).
inline constexpr std::array<std::string_view, 2> long_questions{
    "{sent} Please respond with segmentation mask.",
    "{sent} Please output segmentation mask.",
};

/// What is added to a question to get an explanation beside the mask (LISA utils/utils.py, EXPLANATORY_QUESTION_LIST).
inline constexpr std::array<std::string_view, 3> explanatory_requests{
    "Please output segmentation mask and explain why.",
    "Please output segmentation mask and explain the reason.",
    "Please output segmentation mask and give some explanation.",
};

/// Answers that hold one mask (LISA utils/utils.py, ANSWER_LIST).
inline constexpr std::array<std::string_view, 5> answers{
    "It is [SEG].", "Sure, [SEG].", "Sure, it is [SEG].", "Sure, the segmentation result is [SEG].", "[SEG].",
};

/// `text` with `value` in place of its slot. @throws InputError when the text has no such slot
[[nodiscard]] inline std::string fill_slot(std::string_view text, std::string_view slot, std::string_view value) {
  const std::size_t at = text.find(slot);
  if (at == std::string_view::npos)
    throw InputError("template", "found no " + std::string(slot) + " in \"" + std::string(text) + "\"");
  return std::string(text.substr(0, at)) + std::string(value) + std::string(text.substr(at + slot.size()));
}

}  // namespace lisa
