#pragma once

#include <string>
#include <utility>

#include "lisa/base/lower_case.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/text/lisa_templates.hpp"

namespace lisa {

/// Asks for `name`, a class or a short phrase, in lower case, and answers with `mask`; the wording of both is drawn
/// from LISA's templates (LISA utils/sem_seg_dataset.py, refer_seg_dataset.py).
[[nodiscard]] inline Dialogue class_dialogue(const std::string& name, LabelMask mask, Random& random) {
  std::string question = fill_slot(random.pick(short_questions), class_name_slot, lower_case(name));
  std::string answer(random.pick(answers));
  Dialogue dialogue;
  dialogue.exchanges.push_back({std::move(question), std::move(answer)});
  dialogue.masks.push_back(std::move(mask));
  return dialogue;
}

}  // namespace lisa
