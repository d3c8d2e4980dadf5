#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/pixel_hash.hpp"
#include "lisa/llm/decode_step.hpp"
#include "lisa/model/answer.hpp"
#include "lisa/model/answer_questions.hpp"
#include "lisa/model/feature_folder.hpp"
#include "lisa/model/image_memory.hpp"
#include "lisa/model/loaded_model.hpp"
#include "lisa/model/prepared_image.hpp"
#include "lisa/model/prompt_cache.hpp"
#include "lisa/text/conversation.hpp"

namespace lisa {

/// Answers questions about an image, in conversation:
///
///     Predictor predictor(model);
///     predictor.set_image(read_image("kitchen.jpg"));
///     Answer first = predictor.ask("What holds the hot drink? Please output segmentation mask.");
///     Answer next = predictor.ask("And the thing next to it?");
///
/// The image is encoded once. The language model's cache is kept over turns, over conversations on one image and, for
/// the system text, over images; only what a prompt adds is run. `keep_images` makes that last when an image comes
/// back. Not for use from several threads at once.
/// @tparam S  the model's specification
template <ModelSpec S>
class Predictor {
 public:
  /// @param model  must outlive the predictor
  /// @param style  the prompt template; LISA uses llava_v1 for every checkpoint
  explicit Predictor(const LoadedModel<S>& model, const ConversationTemplate& style = llava_v1)
      : model_(&model), style_(style), cache_(Lisa<S>::Backbone::make_cache()), conversation_(empty_conversation()) {}

  /// Keeps images for the time when they are set again: their features, and what the language model's cache holds up to
  /// their end. An image is known by its pixels.
  /// @param bytes   memory for images beside the present one; 0 keeps none
  /// @param folder  when not empty, features are kept there as well, for later runs of a model with the same weights;
  ///                opening it reads the weights of the vision tower and the image encoder once
  /// @throws IoError when the folder cannot be made
  void keep_images(std::size_t bytes, const std::filesystem::path& folder = {});

  /// Takes an image and starts a new conversation about it. Runs the vision tower; `start` says when the image encoder
  /// runs. An image that cannot be used leaves the predictor as it was.
  /// @throws InputError for an image without pixels or of an extreme aspect ratio
  void set_image(const Image& image, EncoderStart start = EncoderStart::at_first_mask);

  [[nodiscard]] bool has_image() const noexcept { return image_.image != nullptr; }

  /// Starts a new conversation about the same image.
  void reset() {
    conversation_ = empty_conversation();
    history_.clear();
  }

  /// Answers the next question of the conversation. After an error the conversation is as it was before.
  /// @throws InputError without an image, for a blank question, one that holds "<image>", a prompt longer than the
  ///         model's context, or options out of range
  Answer ask(std::string_view question, const AskOptions& options = {});

  /// Answers each question as the first of a conversation of its own, all in one batch. The conversation of `ask` is
  /// not touched. Answers equal those of asking one at a time.
  /// @throws InputError as `ask`; `options.trace` must be empty, since it holds one answer
  std::vector<Answer> ask_each(const std::vector<std::string>& questions, const AskOptions& options = {});

  /// Continues whole prompts, all in one batch: token ids, `image_token_id` where the image stands. Every `[SEG]` that
  /// a prompt holds gets its mask like those of the answer, before them. The conversation of `ask` is not touched.
  /// @throws InputError as `ask_each`
  std::vector<Answer> answer_prompts(std::vector<std::vector<std::int64_t>> prompts, const AskOptions& options = {});

  /// A conversation of this predictor's style before its first question.
  [[nodiscard]] Conversation empty_conversation() const {
    return Conversation(style_, model_->image_start_end ? image_mark : bare_image_mark);
  }

  /// The model that answers.
  [[nodiscard]] const LoadedModel<S>& model() const noexcept { return *model_; }

  /// The conversation so far, as the text that the model reads.
  [[nodiscard]] const Conversation& conversation() const noexcept { return conversation_; }

  /// The image as the model sees it. @throws InputError without an image
  [[nodiscard]] const PreparedImage& image() const {
    require_image();
    return *image_.image;
  }

 private:
  /// Makes an image the present one, from the memory, from the folder's features or from its pixels.
  void change_image(const Image& image, const PixelHash& picture, EncoderStart start, StageTimes& times);

  /// Puts the present image into the memory, with its keys and values where these fit as well.
  void put_away_image();

  [[nodiscard]] static int count_of(const ImageFeatures& features) {
    return (features.visual.defined() ? 1 : 0) + (features.embedding.defined() ? 1 : 0);
  }

  /// Keeps features in the folder that it does not have yet.
  void store_features();

  void require_image() const {
    if (!has_image()) throw InputError("image", "found none, expected set_image before a question");
  }

  [[nodiscard]] Question question_about(std::vector<std::int64_t> ids, std::size_t asked_from, PromptCache& cache,
                                        const AskOptions& options) const;

  /// A model may write "<image>" as ordinary text; a conversation's text would take it for an image.
  [[nodiscard]] static std::string without_placeholders(std::string text);

  /// The next prompt begins with this one and its answer, closed by the end token when the answer was cut short.
  void remember(const Answer& answer);

  /// Runs what all prompts begin with, up to the first `[SEG]` whose state a mask needs, so that their caches are
  /// copies of one.
  void run_common_prefix(const std::vector<std::vector<std::int64_t>>& prompts);

  /// The image's own stages are reported once, with the first answer after them.
  void add_image_times(StageTimes& times) {
    times.preprocess += std::exchange(image_times_.preprocess, 0.0);
    times.vision_tower += std::exchange(image_times_.vision_tower, 0.0);
    times.image_encoder += std::exchange(image_times_.image_encoder, 0.0);
  }

  const LoadedModel<S>* model_;
  ConversationTemplate style_;
  PromptCache cache_;
  KeptDecodeStep<typename Lisa<S>::Backbone> steps_;  ///< in `cache_`
  Conversation conversation_;
  std::vector<std::int64_t> history_;  ///< ids of the conversation so far, empty before its first answer
  SeenImage image_;                    ///< the present one; its prompt is `cache_`
  std::int64_t last_serial_ = 0;
  StageTimes image_times_;
  ImageMemory memory_;
  std::optional<FeatureFolder> folder_;
};

// The members that compute are not inline, so that a file with `extern template class Predictor<S>` compiles none of
// them.

template <ModelSpec S>
void Predictor<S>::keep_images(std::size_t bytes, const std::filesystem::path& folder) {
  memory_ = ImageMemory(bytes);
  folder_.reset();
  if (!folder.empty()) folder_.emplace(folder, model_->model);
}

template <ModelSpec S>
void Predictor<S>::set_image(const Image& image, EncoderStart start) {
  StageTimes times;
  const bool known_by_pixels = memory_.limit() > 0 || folder_.has_value();
  const PixelHash picture = known_by_pixels ? pixel_hash(image) : PixelHash{};
  if (!known_by_pixels || !has_image() || image_.picture != picture) change_image(image, picture, start, times);
  // What a stream is at work on, the first mask takes from there.
  if (start == EncoderStart::at_once && !image_.image->pending_embedding)
    ensure_embedding(model_->model, *image_.image, times);
  image_times_ = times;
  reset();
}

template <ModelSpec S>
Answer Predictor<S>::ask(std::string_view question, const AskOptions& options) {
  require_image();
  Conversation next = conversation_;
  next.add_user(question);
  std::vector<std::int64_t> ids = history_;
  if (ids.empty()) {
    ids = model_->tokenizer.encode_with_images(next.prompt());
  } else {
    const auto more = model_->tokenizer.encode_continuation(conversation_.continuation(question));
    ids.insert(ids.end(), more.begin(), more.end());
  }
  Answer answer = std::move(answer_questions<S>(model_->model, model_->tokenizer,
                                                {question_about(ids, history_.size(), cache_, options)}, &steps_)
                                .front());
  store_features();
  next.add_assistant(without_placeholders(answer.text));
  remember(answer);
  conversation_ = std::move(next);
  add_image_times(answer.times);
  return answer;
}

template <ModelSpec S>
std::vector<Answer> Predictor<S>::ask_each(const std::vector<std::string>& questions, const AskOptions& options) {
  std::vector<std::vector<std::int64_t>> prompts;
  for (const std::string& question : questions) {
    Conversation conversation = empty_conversation();
    conversation.add_user(question);
    prompts.push_back(model_->tokenizer.encode_with_images(conversation.prompt()));
  }
  return answer_prompts(std::move(prompts), options);
}

template <ModelSpec S>
std::vector<Answer> Predictor<S>::answer_prompts(std::vector<std::vector<std::int64_t>> prompts,
                                                 const AskOptions& options) {
  require_image();
  if (options.trace != nullptr) throw InputError("trace", "found a batch of questions, expected a single one");
  if (prompts.empty()) return {};
  if (std::ranges::any_of(prompts, [](const auto& prompt) { return prompt.empty(); }))
    throw InputError("prompt", "found no token, expected at least one");
  run_common_prefix(prompts);
  std::vector<PromptCache> caches;
  for (std::size_t i = 0; i < prompts.size(); ++i) caches.push_back(cache_.fork());
  std::vector<Question> batch;
  for (std::size_t i = 0; i < prompts.size(); ++i)
    batch.push_back(question_about(std::move(prompts[i]), 0, caches[i], options));
  std::vector<Answer> answers = answer_questions<S>(model_->model, model_->tokenizer, batch);
  store_features();
  add_image_times(answers.front().times);
  return answers;
}

template <ModelSpec S>
void Predictor<S>::change_image(const Image& image, const PixelHash& picture, EncoderStart start, StageTimes& times) {
  std::optional<SeenImage> next = memory_.take(picture);
  if (!next) {
    const ImageFeatures known = folder_ ? folder_->find(picture) : ImageFeatures{};
    next = SeenImage{.picture = picture,
                     .image = std::make_unique<PreparedImage>(prepare_image(
                         model_->model, image, model_->sam_preprocess, model_->clip_preprocess, times, known, start)),
                     .serial = last_serial_ + 1,
                     .stored_features = count_of(known)};
    ++last_serial_;
  }
  put_away_image();
  image_ = std::move(*next);
  if (image_.prompt) cache_ = std::move(*std::exchange(image_.prompt, std::nullopt));
}

template <ModelSpec S>
void Predictor<S>::put_away_image() {
  if (memory_.limit() == 0 || !has_image()) return;
  const dim end = cache_.image_end();
  if (end > 0 && bytes_of(*image_.image) + cache_.bytes(end) <= memory_.limit()) image_.prompt = cache_.fork(end);
  memory_.put(std::move(image_));
}

template <ModelSpec S>
void Predictor<S>::store_features() {
  if (!folder_) return;
  const PreparedImage& image = *image_.image;
  const ImageFeatures features{image.visual_features, image.embedding.defined() ? image.embedding[0] : at::Tensor()};
  if (count_of(features) <= image_.stored_features) return;
  folder_->keep(image_.picture, features);
  image_.stored_features = count_of(features);
}

template <ModelSpec S>
Question Predictor<S>::question_about(std::vector<std::int64_t> ids, std::size_t asked_from, PromptCache& cache,
                                      const AskOptions& options) const {
  return {.image = image_.image.get(),
          .image_serial = image_.serial,
          .ids = std::move(ids),
          .asked_from = asked_from,
          .cache = &cache,
          .options = &options};
}

template <ModelSpec S>
std::string Predictor<S>::without_placeholders(std::string text) {
  for (std::size_t at = text.find(image_placeholder); at != std::string::npos; at = text.find(image_placeholder))
    text.erase(at, image_placeholder.size());
  return text;
}

template <ModelSpec S>
void Predictor<S>::remember(const Answer& answer) {
  history_ = answer.prompt_ids;
  history_.insert(history_.end(), answer.answer_ids.begin(), answer.answer_ids.end());
  if (history_.back() != model_->tokenizer.eos()) history_.push_back(model_->tokenizer.eos());
}

template <ModelSpec S>
void Predictor<S>::run_common_prefix(const std::vector<std::vector<std::int64_t>>& prompts) {
  const c10::InferenceMode no_gradients;
  const PromptRows first(prompts.front(), Lisa<S>::visual_tokens, image_.serial);
  dim shared = first.size() - 1;
  for (const auto& prompt : prompts) {
    const PromptRows rows(prompt, Lisa<S>::visual_tokens, image_.serial);
    shared = std::min({shared, rows.size() - 1, first.common_prefix(rows.keys())});
    const auto seg = std::ranges::find(prompt, model_->tokenizer.seg());
    if (seg != prompt.end() && seg != prompt.begin())
      shared =
          std::min(shared, rows.position(static_cast<std::size_t>(seg - prompt.begin())) + Lisa<S>::SegPolicy::offset);
  }
  const dim reused = std::min(shared, first.common_prefix(cache_.keys()));
  const std::vector<std::int64_t> keys(first.keys().begin(), first.keys().begin() + shared);
  cache_.restart(reused, keys);
  if (reused == shared) return;
  const auto& llm = model_->model.llm;
  const at::Tensor& visual = image_.image->visual_rows;
  const at::Tensor rows =
      first
          .embeddings(
              reused, [&](std::span<const std::int64_t> ids) { return embed_ids(llm, ids, visual.device()); }, visual)
          .narrow(0, 0, shared - reused);
  const Segment segment{rows.size(0), &cache_.cache()};
  (void)llm.forward(rows, {&segment, 1});
}

}  // namespace lisa
