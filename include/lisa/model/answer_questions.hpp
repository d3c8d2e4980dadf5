#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/stopwatch.hpp"
#include "lisa/llm/decode_step.hpp"
#include "lisa/llm/generate.hpp"
#include "lisa/model/answer.hpp"
#include "lisa/model/encoder_beside.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/model/make_masks.hpp"
#include "lisa/model/prepared_image.hpp"
#include "lisa/model/prompt_cache.hpp"
#include "lisa/model/prompt_rows.hpp"
#include "lisa/text/answer_text.hpp"
#include "lisa/text/tokenizer.hpp"

namespace lisa {

/// A prompt about a prepared image, with the cache that it continues.
struct Question {
  PreparedImage* image = nullptr;
  std::int64_t image_serial = 0;  ///< tells images apart that share a cache
  std::vector<std::int64_t> ids;  ///< the whole prompt, history included
  std::size_t asked_from = 0;     ///< `[SEG]` tokens of the prompt before this index had their masks in earlier turns
  PromptCache* cache = nullptr;
  const AskOptions* options = nullptr;
};

namespace detail {

/// One question on its way to an answer.
template <ModelSpec S>
class OpenQuestion {
 public:
  using Model = Lisa<S>;

  OpenQuestion(const Model& model, const Tokenizer& tokenizer, const Question& question)
      : model_(model),
        question_(question),
        seg_(tokenizer.seg()),
        rows_(question.ids, Model::visual_tokens, question.image_serial),
        text_(tokenizer, question.options->stop) {
    answer_.prompt_ids = question.ids;
    if (rows_.size() > question.cache->cache().limit())
      throw InputError("prompt", found_expected(std::to_string(rows_.size()) + " positions (" +
                                                    std::to_string(Model::visual_tokens) + " of them the image)",
                                                "at most " + std::to_string(question.cache->cache().limit()) +
                                                    ", the model's context"));
  }

  /// Decides what of the cache is kept and what has to be run.
  [[nodiscard]] GenerationRequest request(const Tokenizer& tokenizer) {
    reused_ = std::min(rows_.common_prefix(question_.cache->keys()), rows_.size() - 1);
    for (const std::size_t index : prompt_segs()) reused_ = std::min(reused_, state_position(index));
    if (trace() != nullptr) reused_ = 0;
    question_.cache->restart(reused_, rows_.keys());
    const AskOptions& options = *question_.options;
    const dim room = question_.cache->cache().limit() - rows_.size() + 1;  // the last token is never run
    return {.cache = &question_.cache->cache(),
            .prompt = rows_.embeddings(
                reused_, [&](std::span<const std::int64_t> ids) { return embed(ids); }, question_.image->visual_rows),
            .sampling = options.sampling,
            .max_new_tokens = std::min(options.max_new_tokens, room),
            .end_token = tokenizer.eos(),
            .seg_token = seg_,
            .segmentation = options.segmentation,
            .forced_answer = options.forced_answer,
            .drafts = draft_ids(tokenizer)};
  }

  void on_prompt(const at::Tensor& hidden) {  // [T, hidden]
    if (trace() != nullptr) hidden_rows_.push_back(hidden);
    std::vector<dim> indices;
    std::vector<at::Tensor> states;
    for (const std::size_t index : prompt_segs()) {
      indices.push_back(static_cast<dim>(index));
      states.push_back(hidden[state_position(index) - reused_]);
    }
    if (!states.empty()) add_masks(aten::stack(states), indices);
  }

  [[nodiscard]] bool on_token(const GeneratedToken& token) {
    question_.cache->push(token.token);
    if (trace() != nullptr) {
      if (token.index > 0) hidden_rows_.push_back(token.hidden.unsqueeze(0));
      logits_.push_back(token.logits);
    }
    const bool go_on = text_.push(token.token);
    const std::string_view fresh = text_.take_certain();
    const bool wanted = fresh.empty() || !question_.options->on_text || question_.options->on_text(fresh);
    return go_on && wanted;
  }

  void on_seg(dim index, const at::Tensor& hidden) {  // [hidden]
    add_masks(hidden.unsqueeze(0), {token_index(index)});
  }

  /// The same after the answer is complete, by `make_postponed_masks`.
  void postpone_seg(dim index, const at::Tensor& hidden) {  // [hidden]
    postponed_indices_.push_back(token_index(index));
    postponed_states_.push_back(hidden);
  }
  void make_postponed_masks() {
    if (!postponed_states_.empty()) add_masks(aten::stack(postponed_states_), postponed_indices_);
  }

  /// Time spent on masks since the last call, to be left out of the language model's.
  [[nodiscard]] double take_mask_seconds() { return std::exchange(mask_seconds_, 0.0); }

  [[nodiscard]] StageTimes& times() { return answer_.times; }

  [[nodiscard]] Answer finish(GeneratedAnswer generated) {
    answer_.answer_ids = std::move(generated.tokens);
    answer_.stopped_by = generated.stopped_by;
    answer_.drafted_tokens = generated.drafted_tokens;
    answer_.text = text_.finish();
    const std::string_view rest = text_.take_certain();
    if (!rest.empty() && question_.options->on_text) (void)question_.options->on_text(rest);
    if (trace() != nullptr) write_trace();
    return std::move(answer_);
  }

 private:
  [[nodiscard]] AnswerTrace* trace() const { return question_.options->trace; }

  /// A trace is compared with recorded steps, which were taken one by one; the usual answers all have a `[SEG]`.
  [[nodiscard]] std::vector<std::vector<std::int64_t>> draft_ids(const Tokenizer& tokenizer) const {
    std::vector<std::vector<std::int64_t>> ids;
    if (trace() != nullptr || question_.options->segmentation == Segmentation::off) return ids;
    for (const std::string& draft : question_.options->drafts) ids.push_back(tokenizer.encode_continuation(draft));
    return ids;
  }

  [[nodiscard]] at::Tensor embed(std::span<const std::int64_t> ids) const {
    return embed_ids(model_.llm, ids, question_.image->visual_rows.device());
  }

  /// Indices of the prompt's own `[SEG]` tokens, which ask for masks like those of the answer.
  [[nodiscard]] std::vector<std::size_t> prompt_segs() const {
    std::vector<std::size_t> found;
    if (question_.options->segmentation == Segmentation::off) return found;
    for (std::size_t i = std::max<std::size_t>(question_.asked_from, 1); i < question_.ids.size(); ++i)
      if (question_.ids[i] == seg_) found.push_back(i);
    return found;
  }

  /// Of an answer's token, in the prompt and the answer.
  [[nodiscard]] dim token_index(dim index) const { return static_cast<dim>(question_.ids.size()) + index; }

  [[nodiscard]] dim state_position(std::size_t index) const { return rows_.position(index) + Model::SegPolicy::offset; }

  void add_masks(const at::Tensor& hidden, const std::vector<dim>& indices) {
    Stopwatch watch;
    auto [masks, tensors] = make_masks(model_, *question_.image, hidden, indices, trace() != nullptr, answer_.times);
    for (AnswerMask& mask : masks) {
      if (question_.options->on_mask) question_.options->on_mask(mask);
      answer_.masks.push_back(std::move(mask));
    }
    if (trace() != nullptr) {
      seg_hidden_.push_back(hidden);
      mask_tensors_.push_back(std::move(tensors));
    }
    mask_seconds_ += watch.lap();
  }

  /// A trace has every level, also of an answer without masks: the image encoder then runs, and N is 0.
  void trace_no_masks() {
    ensure_embedding(model_, *question_.image, answer_.times);
    const at::Tensor& rows = question_.image->visual_rows;
    const ImageSize size = question_.image->sam.original_size;
    constexpr dim side = Model::MaskDecoder::low_res_side;
    seg_hidden_.push_back(rows.new_empty({0, rows.size(1)}));
    mask_tensors_.push_back({.seg_vectors = rows.new_empty({0, Model::SegProjector::out_features}),
                             .low_res_masks = aten::empty({0, 1, side, side}),
                             .iou_predictions = aten::empty({0, 1}),
                             .logits = aten::empty({0, size.height, size.width})});
  }

  void write_trace();

  const Model& model_;
  const Question& question_;
  std::int64_t seg_;
  PromptRows rows_;
  AnswerText text_;
  dim reused_ = 0;
  double mask_seconds_ = 0;
  Answer answer_;
  std::vector<dim> postponed_indices_;
  std::vector<at::Tensor> postponed_states_;
  std::vector<at::Tensor> hidden_rows_, logits_, seg_hidden_;  // for the trace
  std::vector<MaskTensors> mask_tensors_;
};

/// Whether a question's image is to be encoded beside the language model. A trace is compared with recorded
/// steps, which were taken one by one.
inline bool encodes_beside(const Question& question) {
  const AskOptions& options = *question.options;
  return options.masks_expected && options.segmentation != Segmentation::off && options.trace == nullptr;
}

/// Whether a question's masks can wait for the end of its answer, so that the encoder has until then.
inline bool masks_can_wait(const Question& question) { return encodes_beside(question) && !question.options->on_mask; }

/// The images of such questions on devices of one type.
inline std::vector<PreparedImage*> images_to_encode(const std::vector<Question>& questions, c10::DeviceType type) {
  std::vector<PreparedImage*> images;
  for (const Question& question : questions)
    if (encodes_beside(question) && question.image->visual_rows.device().type() == type &&
        std::ranges::find(images, question.image) == images.end())
      images.push_back(question.image);
  return images;
}

template <ModelSpec S>
void OpenQuestion<S>::write_trace() {
  if (mask_tensors_.empty()) trace_no_masks();
  AnswerTrace& out = *trace();
  const PreparedImage& image = *question_.image;
  const auto ids = [](const std::vector<std::int64_t>& values) { return at::tensor(values, at::kLong); };
  std::vector<std::int64_t> all = question_.ids;
  all.insert(all.end(), answer_.answer_ids.begin(), answer_.answer_ids.end());
  out.emplace_back("input_ids", ids(question_.ids).unsqueeze(0));
  out.emplace_back("output_ids", ids(all).unsqueeze(0));
  out.emplace_back("step_tokens", ids(answer_.answer_ids));
  const auto [values, indices] = aten::stack(logits_).to(at::kFloat).topk(2, -1);
  out.emplace_back("step_top2", indices);
  out.emplace_back("step_gap", values.select(1, 0).sub(values.select(1, 1)));
  out.emplace_back("first_step_logits", logits_.front());
  out.emplace_back("last_step_logits", logits_.back());
  out.emplace_back("pixel_values", image.clip.pixel_values.unsqueeze(0));
  out.emplace_back("clip_features", image.visual_features.unsqueeze(0));
  out.emplace_back("projected_features", image.visual_rows.unsqueeze(0));
  out.emplace_back("sam_resized_u8", image.sam.resized);
  out.emplace_back("sam_image", image.sam.image.unsqueeze(0));
  out.emplace_back("last_hidden_states", aten::cat(hidden_rows_, 0).unsqueeze(0));
  std::vector<std::int64_t> seg_token_index, seg_hidden_index;
  const PromptRows positions(all, Model::visual_tokens, 0);
  for (const AnswerMask& mask : answer_.masks) {
    seg_token_index.push_back(mask.token_index);
    seg_hidden_index.push_back(positions.position(static_cast<std::size_t>(mask.token_index)) +
                               Model::SegPolicy::offset);
  }
  out.emplace_back("seg_token_index", ids(seg_token_index));
  out.emplace_back("seg_hidden_index", ids(seg_hidden_index));
  out.emplace_back("image_embedding", image.embedding);
  if constexpr (requires { model_.mask_decoder.dense_pe; })
    out.emplace_back("dense_pe", model_.mask_decoder.dense_pe.unsqueeze(0));
  if constexpr (requires { model_.mask_decoder.prompt_encoder.no_mask; })
    out.emplace_back("no_mask_embed", model_.mask_decoder.prompt_encoder.no_mask);
  const auto joined = [&](const char* name, at::Tensor MaskTensors::* member) {
    std::vector<at::Tensor> parts;
    for (const MaskTensors& tensors : mask_tensors_) parts.push_back(tensors.*member);
    out.emplace_back(name, aten::cat(parts, 0));
  };
  out.emplace_back("seg_hidden_rows", aten::cat(seg_hidden_, 0));
  joined("seg_vectors", &MaskTensors::seg_vectors);
  out.emplace_back("sparse_embeddings", out.back().second.unsqueeze(1));
  joined("low_res_masks", &MaskTensors::low_res_masks);
  joined("iou_predictions", &MaskTensors::iou_predictions);
  joined("mask_logits", &MaskTensors::logits);
}

}  // namespace detail

/// Answers several questions together: their language-model steps share each matrix product, and every mask is decoded
/// in the step that chooses its `[SEG]`. Each question has a cache of its own. An answer equals that of asking alone,
/// up to the rounding of the shared products.
/// @param steps  the language model's steps of earlier answers to single questions in the same cache; or nullptr
/// @throws InputError when a prompt exceeds the model's context, or an option is out of range
template <ModelSpec S>
[[nodiscard]] std::vector<Answer> answer_questions(const Lisa<S>& model, const Tokenizer& tokenizer,
                                                   const std::vector<Question>& questions,
                                                   KeptDecodeStep<typename Lisa<S>::Backbone>* steps = nullptr) {
  const c10::InferenceMode no_gradients;
  std::vector<detail::OpenQuestion<S>> open;
  open.reserve(questions.size());
  for (const Question& question : questions) open.emplace_back(model, tokenizer, question);
  Stopwatch watch;
  std::vector<GenerationRequest> requests;
  for (auto& question : open) requests.push_back(question.request(tokenizer));
  double prefill = 0;
  for (PreparedImage* const image : detail::images_to_encode(questions, c10::DeviceType::CUDA))
    encode_on_own_stream(model, *image);
  EncoderBeside<S> encoder(model, detail::images_to_encode(questions, c10::DeviceType::CPU));
  GenerationObserver observer;
  observer.on_prompt = [&](std::size_t i, const at::Tensor& hidden) {
    prefill += watch.lap();
    open[i].on_prompt(hidden);
    (void)open[i].take_mask_seconds();
    (void)watch.lap();
  };
  observer.states_wanted =
      std::ranges::any_of(questions, [](const Question& question) { return question.options->trace != nullptr; });
  observer.on_token = [&](std::size_t i, const GeneratedToken& token) { return open[i].on_token(token); };
  observer.on_step = [&] { encoder.make_room(); };
  observer.on_seg = [&](std::size_t i, dim index, const at::Tensor& hidden) {
    if (detail::masks_can_wait(questions[i])) return open[i].postpone_seg(index, hidden);
    encoder.pause();
    open[i].on_seg(index, hidden);
  };
  std::vector<GeneratedAnswer> generated = generate<typename Lisa<S>::SegPolicy>(model.llm, requests, observer, steps);
  encoder.pause();
  double decode = watch.lap();
  for (auto& question : open) {
    decode -= question.take_mask_seconds();
    question.make_postponed_masks();
  }
  std::vector<Answer> answers;
  for (std::size_t i = 0; i < open.size(); ++i) {
    open[i].times().prefill += prefill;
    open[i].times().decode += decode;
    answers.push_back(open[i].finish(std::move(generated[i])));
  }
  return answers;
}

}  // namespace lisa
