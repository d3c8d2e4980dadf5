#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/eval/teacher_forced.hpp"
#include "lisa/model/load.hpp"
#include "lisa/model/predictor.hpp"
#include "spec_entry.hpp"

namespace lisa::program {

/// The session of one specification.
template <ModelSpec S>
class SpecSession final : public ModelSession {
 public:
  SpecSession(const std::string& folder, const LoadOptions& options, const ConversationTemplate& style)
      : loaded_(load<S>(folder, options)), predictor_(loaded_, style) {}

  void set_image(const Image& image, EncoderStart start) override { predictor_.set_image(image, start); }
  Answer ask(std::string_view question, const AskOptions& options) override {
    return predictor_.ask(question, options);
  }
  std::vector<Answer> ask_each(const std::vector<std::string>& questions, const AskOptions& options) override {
    return predictor_.ask_each(questions, options);
  }
  void reset() override { predictor_.reset(); }
  void keep_images(std::size_t bytes, const std::filesystem::path& folder) override {
    predictor_.keep_images(bytes, folder);
  }

  [[nodiscard]] EvaluatedModel evaluated_model(const AskOptions& options) override {
    return lisa::evaluated_model(predictor_, options);
  }
  [[nodiscard]] at::Tensor full_size_logits(const AnswerMask& mask) const override {
    return lisa::full_size_logits(mask.low_res_logits, predictor_.image());
  }
  [[nodiscard]] std::vector<std::int64_t> answer_ids(std::string_view text) const override {
    std::vector<std::int64_t> ids = loaded_.tokenizer.encode_continuation(text);
    ids.push_back(loaded_.tokenizer.eos());
    return ids;
  }
  [[nodiscard]] std::string prompt() const override { return predictor_.conversation().prompt(); }
  [[nodiscard]] std::string chat_text(const Answer& answer) const override {
    std::vector<std::int64_t> ids = answer.prompt_ids;
    ids.insert(ids.end(), answer.answer_ids.begin(), answer.answer_ids.end());
    return lisa::chat_text(loaded_.tokenizer.decode(ids));
  }
  [[nodiscard]] const std::vector<std::string>& warnings() const override { return loaded_.warnings; }
  void require_intact() const override { loaded_.require_intact(); }

 private:
  LoadedModel<S> loaded_;
  Predictor<S> predictor_;
};

template <ModelSpec S>
[[nodiscard]] std::vector<ParameterInfo> parameters_of() {
  std::vector<ParameterInfo> parameters;
  const auto model = std::make_unique<Lisa<S>>();
  model->for_each_part([&](Part part, auto& module, const std::string& prefix) {
    visit_parameters(module, prefix, [&](const std::string& name, const at::Tensor&, const Shape& shape) {
      parameters.push_back({part, name, shape});
    });
  });
  return parameters;
}

template <ModelSpec S>
[[nodiscard]] SpecEntry entry_of(TrainingOutcome (*train)(const TrainingJob&, ProcessGroup&)) {
  return {.configs = spec_configs<S>(),
          .parameters = parameters_of<S>,
          .open = [](const std::string& folder, const LoadOptions& options, const ConversationTemplate& style)
              -> std::unique_ptr<ModelSession> { return std::make_unique<SpecSession<S>>(folder, options, style); },
          .train = train};
}

}  // namespace lisa::program
