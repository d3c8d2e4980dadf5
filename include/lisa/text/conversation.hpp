#pragma once

#include <array>
#include <string>
#include <string_view>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/text/image_placeholder.hpp"
#include "lisa/text/utf8.hpp"

namespace lisa {

/// How questions and answers become one prompt (LLaVA conversation.py). Every turn is
/// `turn_start question question_end answer answer_end`; the first question follows `preamble` instead of `turn_start`.
struct ConversationTemplate {
  std::string_view name;
  std::string_view preamble;      ///< system text and what leads to the first question
  std::string_view turn_start;    ///< between an answer's end and a further question
  std::string_view question_end;  ///< where an answer begins; a prompt ends here
  std::string_view answer_start;  ///< between `question_end` and a known answer
  std::string_view answer_end;    ///< behind a known answer; ends with `</s>`, which stops generation
};

/// Vicuna's style with LLaVA's system text (conversation.py conv_llava_v1): LISA's default, for Llama 2 models too.
inline constexpr ConversationTemplate llava_v1{
    .name = "llava_v1",
    .preamble =
        "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the human's questions. USER: ",
    .turn_start = "USER: ",
    .question_end = " ASSISTANT:",
    .answer_start = " ",
    .answer_end = "</s>",
};

/// Llama 2's chat style (conversation.py conv_llava_llama_2). A further turn begins with a literal `<s>`.
inline constexpr ConversationTemplate llava_llama_2{
    .name = "llava_llama_2",
    .preamble =
        "[INST] <<SYS>>\nYou are a helpful language and vision assistant. You are able to understand the visual "
        "content that the user provides, and assist the user with a variety of tasks using natural "
        "language.\n<</SYS>>\n\n",
    .turn_start = "<s>[INST] ",
    .question_end = " [/INST]",
    .answer_start = " ",
    .answer_end = " </s>",
};

inline constexpr std::array<ConversationTemplate, 2> conversation_templates{llava_v1, llava_llama_2};

/// Template by name. @throws InputError naming the known ones
[[nodiscard]] inline const ConversationTemplate& conversation_template(std::string_view name) {
  std::string known;
  for (const ConversationTemplate& candidate : conversation_templates) {
    if (candidate.name == name) return candidate;
    known += (known.empty() ? "" : " or ") + std::string(candidate.name);
  }
  throw InputError("conversation", found_expected(lisa::quoted(name), known));
}

/// What stands before the first question about an image: LISA always uses start and end tokens
/// (chat.py, `use_mm_start_end`).
inline constexpr std::string_view image_mark = "<im_start><image><im_end>\n";
/// The same for a checkpoint whose config.json has `mm_use_im_start_end` false.
inline constexpr std::string_view bare_image_mark = "<image>\n";

/// Questions and answers about one image, or none, as the text that the model reads.
///
///   Conversation chat(llava_v1);
///   chat.add_user("Segment the dog.");
///   chat.prompt();                     // ends where the answer begins
///   chat.add_assistant("Sure, [SEG].");
///   chat.continuation("And the cat?")  // what follows the answer's `</s>` in the next prompt
class Conversation {
 public:
  /// @param mark text for the image in front of the first question: `image_mark`, `bare_image_mark` or nothing for a
  ///             conversation without image
  explicit Conversation(const ConversationTemplate& style, std::string_view mark = image_mark)
      : style_(style), mark_(mark) {}

  /// Adds a question. @throws InputError when it is blank, holds "<image>" (the conversation places the image itself),
  /// or the last question has no answer yet
  void add_user(std::string_view question) {
    text_ += next_question(question);
    awaits_answer_ = true;
  }

  /// Adds the answer to the last question, without its end token. @throws InputError when no question awaits one
  void add_assistant(std::string_view answer) {
    if (!awaits_answer_) throw InputError("conversation", "found an answer, expected a question first");
    if (count_images(answer) != 0) throw InputError("answer", "found \"<image>\", expected none");
    text_ += std::string(style_.answer_start) + std::string(answer) + std::string(style_.answer_end);
    awaits_answer_ = false;
  }

  /// The whole text so far. After a question it ends where the answer begins.
  [[nodiscard]] const std::string& prompt() const noexcept { return text_; }

  /// Text that `add_user(question)` would append. After a generated answer that ended with `</s>` its token ids
  /// (`Tokenizer::encode_continuation`) are the tail of the ids of the whole next prompt, so a key/value cache that
  /// holds everything up to that `</s>` can go on with them; an answer cut short needs the `</s>` first.
  /// @throws InputError as `add_user`
  [[nodiscard]] std::string continuation(std::string_view question) const { return next_question(question); }

  /// Whether a question awaits its answer.
  [[nodiscard]] bool awaits_answer() const noexcept { return awaits_answer_; }

 private:
  [[nodiscard]] std::string next_question(std::string_view question) const {
    if (awaits_answer_) throw InputError("conversation", "found a second question, expected an answer first");
    if (strip_left(question).empty()) throw InputError("prompt", "found an empty question");
    if (count_images(question) != 0)
      throw InputError("prompt", found_expected("\"<image>\" in the question",
                                                "none: the image is placed before the first question"));
    const std::string start = text_.empty() ? std::string(style_.preamble) + mark_ : std::string(style_.turn_start);
    return start + std::string(question) + std::string(style_.question_end);
  }

  ConversationTemplate style_;
  std::string mark_;
  std::string text_;
  bool awaits_answer_ = false;
};

}  // namespace lisa
