#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "lisa/data/random.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/text/lisa_templates.hpp"
#include "lisa/text/utf8.hpp"

namespace lisa {

/// A sentence that asks for a mask, with one of LISA's requests behind it, and one of its answers (LISA
/// utils/reason_seg_dataset.py).
[[nodiscard]] inline Exchange sentence_exchange(std::string_view sentence, Random& random) {
  std::string question = fill_slot(random.pick(long_questions), sentence_slot, sentence);
  return {std::move(question), std::string(random.pick(answers))};
}

/// What LISA asks when it validates, and the answer that it gives the model to read (LISA utils/dataset.py,
/// ValDataset). `text` is a sentence that asks, or a phrase that names something.
[[nodiscard]] inline Exchange validation_exchange(std::string_view text, bool is_sentence) {
  const std::string_view stripped = strip_right(strip_left(text));
  return {is_sentence ? fill_slot(long_questions[1], sentence_slot, stripped)
                      : fill_slot(short_questions[3], class_name_slot, stripped),
          "[SEG]."};
}

}  // namespace lisa
