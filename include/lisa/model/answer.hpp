#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/config/dim.hpp"
#include "lisa/image/mask.hpp"
#include "lisa/llm/generate.hpp"
#include "lisa/llm/sampling.hpp"
#include "lisa/text/lisa_templates.hpp"

namespace lisa {

/// Seconds spent in each stage of an answer. Stages that an earlier question on the same image has paid for are 0.
struct StageTimes {
  double preprocess = 0;     ///< resizing and normalising the image
  double vision_tower = 0;   ///< CLIP and the visual projector
  double prefill = 0;        ///< the prompt through the language model
  double decode = 0;         ///< the answer's tokens
  double image_encoder = 0;  ///< SAM's image encoder, without what it did during `decode`
  double mask_decoder = 0;   ///< [SEG] projector and mask decoder
  double upsample = 0;       ///< masks to the image's size, threshold

  /// `visit(name, seconds)` in the order of the work.
  template <class Visitor>
  void for_each(Visitor&& visit) const {
    visit("preprocess", preprocess);
    visit("vision_tower", vision_tower);
    visit("prefill", prefill);
    visit("decode", decode);
    visit("image_encoder", image_encoder);
    visit("mask_decoder", mask_decoder);
    visit("upsample", upsample);
  }
  [[nodiscard]] double total() const {
    return preprocess + vision_tower + prefill + decode + image_encoder + mask_decoder + upsample;
  }
};

/// One mask of an answer.
struct AnswerMask {
  BitMask bits;                ///< logits > 0 at the image's size
  dim token_index = 0;         ///< of its `[SEG]` in prompt_ids followed by answer_ids
  double iou_score = 0;        ///< the mask decoder's own estimate of the mask's IoU
  double stability_score = 0;  ///< IoU of the masks at logits > 1 and > -1, on the low-res grid (SAM's definition)
  at::Tensor low_res_logits;   ///< fp32 [4g, 4g]; `full_size_logits` brings them to the image's size
};

/// What a model says to a question.
struct Answer {
  std::string text;                      ///< without the end token; `[SEG]` marks where masks belong
  std::vector<AnswerMask> masks;         ///< in the order of their tokens
  std::vector<std::int64_t> prompt_ids;  ///< the whole prompt, history included, -200 where the image stands
  std::vector<std::int64_t> answer_ids;  ///< the chosen tokens, the end token included
  StopReason stopped_by = StopReason::end_token;
  dim drafted_tokens = 0;  ///< tokens that a draft had ready, so that they took no step of their own
  StageTimes times;
};

/// Tensors of every level of an answer, by the names of the recorded vectors in tests/golden.
using AnswerTrace = std::vector<std::pair<std::string, at::Tensor>>;

/// LISA's own sentences (`answers` of text/lisa_templates.hpp), which its checkpoints were trained to say.
[[nodiscard]] inline std::vector<std::string> likely_answers() { return {answers.begin(), answers.end()}; }

/// When the encoder of an image for masks runs.
enum class EncoderStart {
  at_first_mask,
  /// On a GPU from the moment when the picture is there, on a stream of its own: for images whose first answer will
  /// surely have masks. On a CPU as `at_first_mask`, because it would hold up the answer; see
  /// `AskOptions::masks_expected`.
  beside,
  at_once  ///< on a GPU as `beside`; on a CPU before anything is asked
};

/// How to answer.
struct AskOptions {
  SamplingOptions sampling{};  ///< greedy by default
  dim max_new_tokens = 512;
  Segmentation segmentation = Segmentation::automatic;
  std::vector<std::string> stop{};            ///< an answer ends before the first of these strings
  std::vector<std::int64_t> forced_answer{};  ///< token ids to answer with, for measurements
  /// Likely answers, which are run together with the question: as far as the answer agrees with one of them, its tokens
  /// take no step of their own. They never change what is answered, beyond the rounding of products of more rows.
  /// Empty: every token takes its step. Not used when the temperature is not 0, with `Segmentation::off` or with a
  /// trace.
  std::vector<std::string> drafts = likely_answers();
  /// Says that the answer will surely have masks: the image encoder then works beside the language model rather than
  /// when the first `[SEG]` is there, on a CPU beside its steps on half of the threads, on a GPU on a stream of its
  /// own, with the question if not with the image already (`EncoderStart`). Masks are made when the text is complete,
  /// unless `on_mask` asks for them before. An answer without masks takes longer with it. The results do not depend on
  /// it, beyond the rounding of products on fewer threads.
  bool masks_expected = false;
  /// Text as soon as it is certain; false ends the answer.
  std::function<bool(std::string_view text)> on_text{};
  /// Each mask in the step in which its `[SEG]` is chosen, before the text is complete.
  std::function<void(const AnswerMask& mask)> on_mask{};
  /// When set, receives the tensors of every level. The whole prompt is then run anew.
  AnswerTrace* trace = nullptr;
};

}  // namespace lisa
