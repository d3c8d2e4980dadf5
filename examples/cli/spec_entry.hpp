#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/checkpoint/config_json.hpp"
#include "lisa/config/spec.hpp"
#include "lisa/eval/evaluated_model.hpp"
#include "lisa/image/image.hpp"
#include "lisa/model/answer.hpp"
#include "lisa/model/load_options.hpp"
#include "lisa/model/part.hpp"
#include "lisa/text/conversation.hpp"
#include "lisa/train/process_group.hpp"
#include "lisa/train/training_run_options.hpp"

namespace lisa::program {

/// A loaded model with the types of its specification erased, so that every command is compiled once.
class ModelSession {
 public:
  ModelSession() = default;
  ModelSession(const ModelSession&) = delete;
  ModelSession& operator=(const ModelSession&) = delete;
  virtual ~ModelSession() = default;

  /// As Predictor's members of the same names.
  virtual void set_image(const Image& image, EncoderStart start) = 0;
  virtual Answer ask(std::string_view question, const AskOptions& options) = 0;
  virtual std::vector<Answer> ask_each(const std::vector<std::string>& questions, const AskOptions& options) = 0;
  virtual void reset() = 0;
  virtual void keep_images(std::size_t bytes, const std::filesystem::path& folder) = 0;

  /// The model as the evaluator uses it; `options` say how it answers. Refers to this session.
  [[nodiscard]] virtual EvaluatedModel evaluated_model(const AskOptions& options) = 0;
  /// Logits of a mask at the current image's size, fp32 [H, W].
  [[nodiscard]] virtual at::Tensor full_size_logits(const AnswerMask& mask) const = 0;
  /// The ids of an answer with this text and the end token behind it.
  [[nodiscard]] virtual std::vector<std::int64_t> answer_ids(std::string_view text) const = 0;
  /// The conversation as the model reads it, and the text of ids as the original's chat.py prints it.
  [[nodiscard]] virtual std::string prompt() const = 0;
  [[nodiscard]] virtual std::string chat_text(const Answer& answer) const = 0;
  [[nodiscard]] virtual const std::vector<std::string>& warnings() const = 0;
  /// Throws IoError when a weight file was truncated since loading.
  virtual void require_intact() const = 0;
};

/// A tensor that a specification demands, under its name in a LISA checkpoint (the vision tower's: in CLIP's folder).
struct ParameterInfo {
  Part part;
  std::string name;
  std::vector<dim> shape;
};

struct TrainingJob;

/// One compiled specification: its numbers, its tensors, how to load it and how to train it.
struct SpecEntry {
  SpecConfigs configs;
  std::vector<ParameterInfo> (*parameters)();
  std::unique_ptr<ModelSession> (*open)(const std::string& folder, const LoadOptions& options,
                                        const ConversationTemplate& style);
  TrainingOutcome (*train)(const TrainingJob& job, ProcessGroup& group);
};

/// The specifications that the program was built with, in the order of lisa_add_program.
std::vector<SpecEntry> spec_entries();

}  // namespace lisa::program
