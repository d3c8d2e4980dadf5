#pragma once

#include <ATen/core/grad_mode.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lisa/data/contact_sheet.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/eval/evaluation_record.hpp"
#include "lisa/eval/evaluator.hpp"
#include "lisa/eval/metrics.hpp"
#include "lisa/eval/record_file.hpp"
#include "lisa/eval/teacher_forced.hpp"
#include "lisa/files/json.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/rle.hpp"
#include "lisa/model/loaded_model.hpp"
#include "lisa/model/predictor.hpp"
#include "lisa/text/conversation.hpp"
#include "lisa/train/process_group.hpp"
#include "lisa/train/trainable.hpp"

namespace lisa {

/// What a validation during training found.
struct Validation {
  SegmentationScore score;  ///< exact, over all samples
  SampleRecords records;    ///< of all processes
};

/// Measures the model on a data set, answers given, as the original validates (LISA train_ds.py `validate`); each
/// process takes its share and all get the whole result. The adapters drop nothing afterwards until the next step.
/// @throws Error for a sample that cannot be read; IoError when a process is lost
template <ModelSpec S>
[[nodiscard]] Validation validate_model(LoadedModel<S>& loaded, const DataSet& data, const ConversationTemplate& style,
                                        ProcessGroup& group) {
  const at::NoGradGuard no_gradients;
  set_adapter_dropout(loaded.model, {});
  Predictor<S> predictor(loaded, style);
  const EvaluatedModel model = evaluated_model(predictor);
  const EvaluationOptions options{.teacher_forced = true, .free_running = false};
  Json mine = Json::array();
  for (std::size_t index = static_cast<std::size_t>(group.rank()); index < data.size;
       index += static_cast<std::size_t>(group.size()))
    mine.push_back(record_json(evaluate_sample(model, read_for_evaluation(data, index, options), index, options)));
  Validation result;
  const std::vector<std::string> shares = group.exchange(mine.dump());
  for (std::size_t rank = 0; rank < shares.size(); ++rank)
    for (const Json& record : parse_json(shares[rank], "rank " + std::to_string(rank))) {
      SampleRecord parsed = parse_record(record);
      const std::size_t index = parsed.index;
      result.records.emplace(index, std::move(parsed));
    }
  std::vector<ImageOverlaps> images;
  for (const auto& [index, record] : result.records) {
    ImageOverlaps overlaps;
    for (const DialogueRecord& dialogue : record.dialogues)
      if (const MethodResult* found = dialogue.find(Method::teacher_forced))
        overlaps.insert(overlaps.end(), found->overlaps.begin(), found->overlaps.end());
    images.push_back(std::move(overlaps));
  }
  result.score = exact_score(images);
  return result;
}

/// The first samples of a validation with the masks that the model gave, side by side.
/// @throws InputError without samples, and what reading them throws
[[nodiscard]] inline Image validation_picture(const DataSet& data, const Validation& validation, std::size_t samples) {
  const EvaluationOptions options;
  std::vector<Sample> shown;
  for (const auto& [index, record] : validation.records) {
    if (shown.size() == samples) break;
    Sample sample = read_for_evaluation(data, index, options);
    for (std::size_t d = 0; d < sample.dialogues.size(); ++d) {
      const MethodResult* found = record.dialogues.at(d).find(Method::teacher_forced);
      if (found == nullptr) continue;
      std::vector<LabelMask>& masks = sample.dialogues[d].masks;
      for (std::size_t m = 0; m < masks.size() && m < found->masks.size(); ++m)
        masks[m] = label_mask(decode_rle(found->masks[m], {{}, sample.id}));
    }
    shown.push_back(std::move(sample));
  }
  return contact_sheet(shown);
}

}  // namespace lisa
