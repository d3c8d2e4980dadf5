#pragma once

#include <cmath>
#include <cstddef>
#include <string>

#include "lisa/image/mask.hpp"
#include "lisa/model/answer.hpp"
#include "tests/support/tensor_compare.hpp"

namespace lisa::test {

/// Words about what differs between two answers; "" when ids, text and masks are the same up to rounding.
inline std::string difference(const Answer& a, const Answer& b) {
  if (a.prompt_ids != b.prompt_ids) return "prompt_ids";
  if (a.answer_ids != b.answer_ids) return "answer_ids";
  if (a.text != b.text) return "text: " + a.text + " / " + b.text;
  if (a.stopped_by != b.stopped_by) return "stopped_by";
  if (a.masks.size() != b.masks.size()) return "number of masks";
  for (std::size_t i = 0; i < a.masks.size(); ++i) {
    const AnswerMask &m = a.masks[i], &n = b.masks[i];
    if (m.token_index != n.token_index) return "token_index";
    if (relative_l2(m.low_res_logits, n.low_res_logits) > 1e-4) return "low_res_logits";
    if (std::abs(m.iou_score - n.iou_score) > 1e-3) return "iou_score";
    if (iou(m.bits, n.bits) < 0.999) return "bits";
  }
  return "";
}

}  // namespace lisa::test
