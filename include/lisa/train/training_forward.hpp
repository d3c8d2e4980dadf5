#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/sam/upsample.hpp"
#include "lisa/train/causal_row_attention.hpp"
#include "lisa/train/losses.hpp"
#include "lisa/train/training_batch.hpp"
#include "lisa/train/training_rows.hpp"

namespace lisa {

/// A differentiable computation of one tensor from others.
using TensorFunction = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;
/// Runs a function on its inputs. What it keeps for the backward pass is its own affair; see `gradient_checkpoint`.
using FunctionRunner = std::function<at::Tensor(const TensorFunction& function, const std::vector<at::Tensor>& inputs)>;

struct TrainingForwardOptions {
  LossWeights weights{};
  /// What the losses are averaged over; the micro-batch's own `loss_counts` when absent.
  std::optional<LossCounts> counts{};
  /// Runs each block of the language model and the mask decoder; calls them when empty.
  FunctionRunner run{};
};

/// A micro-batch's forward pass.
struct TrainingOutput {
  LossParts losses;
  at::Tensor loss;           ///< their sum: call `backward` on it
  at::Tensor hidden_states;  ///< [items * T, hidden], see `TrainingRows`
  at::Tensor low_res_masks;  ///< logits [M, 1, s, s], undefined without masks
  TrainingRows rows;
};

namespace detail {

/// Features of every image: those known already, the others encoded together.
/// @param encode [n, ...] -> [n, ...]
template <class Encode>
at::Tensor features_of(const std::vector<const TrainingImage*>& images, at::Tensor TrainingImage::* known,
                       at::Tensor TrainingImage::* input, const Encode& encode) {
  std::vector<at::Tensor> inputs, features(images.size());
  std::vector<std::size_t> encoded;
  for (std::size_t i = 0; i < images.size(); ++i) {
    features[i] = images[i]->*known;
    if (features[i].defined()) continue;
    inputs.push_back(images[i]->*input);
    encoded.push_back(i);
  }
  if (inputs.empty()) return aten::stack(features);
  const at::Tensor fresh = encode(aten::stack(inputs));
  if (encoded.size() == images.size()) return fresh;
  for (std::size_t i = 0; i < encoded.size(); ++i) features[encoded[i]] = fresh[static_cast<std::int64_t>(i)];
  for (at::Tensor& feature : features) feature = feature.to(fresh.options());
  return aten::stack(features);
}

/// Sums of the masks' losses at the size of their images. Masks whose images agree in size are handled together.
/// @param low_res     [M, 1, s, s]
/// @param image_side  side of the padded square
inline std::pair<at::Tensor, at::Tensor> mask_loss_sums(const at::Tensor& low_res, dim image_side,
                                                        const TrainingBatch& batch) {
  struct Group {
    std::vector<std::int64_t> masks;
    std::vector<at::Tensor> labels;
  };
  std::map<std::tuple<dim, dim, dim, dim>, Group> groups;
  std::int64_t next = 0;
  for (const TrainingImage& image : batch) {
    const std::int64_t count = image.masks.size(0);
    if (count == 0) continue;
    Group& group = groups[{image.resized.height, image.resized.width, image.original.height, image.original.width}];
    for (std::int64_t i = 0; i < count; ++i) group.masks.push_back(next++);
    group.labels.push_back(image.masks);
  }
  at::Tensor bce, dice;
  for (const auto& [extents, group] : groups) {
    const auto [resized_height, resized_width, height, width] = extents;
    const at::Tensor own =
        groups.size() == 1 ? low_res : low_res.index_select(0, at::tensor(group.masks, at::kLong).to(low_res.device()));
    const at::Tensor logits =
        mask_logits(own, image_side, {resized_height, resized_width}, {height, width}).squeeze(1);  // [n, H, W]
    const at::Tensor labels =
        (group.labels.size() == 1 ? group.labels.front() : aten::cat(group.labels)).to(logits.device());
    const at::Tensor targets = labels.masked_fill(labels.eq(LabelMask::ignored), 0).to(logits.scalar_type());
    const at::Tensor group_bce = bce_per_mask(logits, targets).sum(), group_dice = dice_per_mask(logits, targets).sum();
    bce = bce.defined() ? bce.add(group_bce) : group_bce;
    dice = dice.defined() ? dice.add(group_dice) : group_dice;
  }
  return {bce, dice};
}

/// Low-res mask logits [M, 1, s, s] of all `[SEG]` of a batch, at least one.
template <ModelSpec S>
at::Tensor decode_masks(const Lisa<S>& model, const TrainingBatch& batch, const TrainingRows& rows,
                        const at::Tensor& hidden_states, const FunctionRunner& run) {
  const at::Tensor prompts = model.project_seg(hidden_states.index_select(0, rows.seg_rows));  // [M, prompt_dim]
  std::vector<const TrainingImage*> images;
  std::vector<std::int64_t> image_of_mask;
  for (const TrainingImage& image : batch) {
    if (image.masks.size(0) == 0) continue;
    image_of_mask.insert(image_of_mask.end(), static_cast<std::size_t>(image.masks.size(0)),
                         static_cast<std::int64_t>(images.size()));
    images.push_back(&image);
  }
  if (static_cast<std::int64_t>(image_of_mask.size()) != prompts.size(0))
    throw InputError("batch", found_expected(std::to_string(prompts.size(0)) + " [SEG]",
                                             std::to_string(image_of_mask.size()) + ", the number of masks"));
  at::Tensor embeddings = features_of(images, &TrainingImage::image_embedding, &TrainingImage::sam_image,
                                      [&](const at::Tensor& pixels) { return model.encode_image(pixels); });
  if (images.size() > 1)
    embeddings = embeddings.index_select(0, at::tensor(image_of_mask, at::kLong).to(embeddings.device()));
  return run([&decoder = model.mask_decoder](
                 const std::vector<at::Tensor>& inputs) { return decoder.forward(inputs[0], inputs[1]).low_res_masks; },
             {embeddings, prompts});
}

/// `sum * weight / count`, 0 where there is nothing to sum.
inline at::Tensor weighted_mean(const at::Tensor& sum, double weight, double count, const at::TensorOptions& scalar) {
  return sum.defined() && count > 0 ? sum.mul(weight / count) : aten::zeros({}, scalar);
}

}  // namespace detail

/// The loss of a micro-batch (LISA model/LISA.py, model_forward): cross entropy of the answers' tokens, and BCE and
/// DICE of the masks decoded from their `[SEG]` at the images' own size. The vision tower and the image encoder run
/// once per image, the latter only where there are masks; what dialogues about one image begin with runs once; logits
/// are computed where there are labels. Gradients reach whatever requires them. A function that `options.run` keeps
/// refers to the model, which has to live until the backward pass is done. Ignored pixels count as background, as in
/// the original's training; other labels are taken as they are. Adapters drop the same inputs for all dialogues of an
/// image as far as these begin alike.
/// @throws InputError naming the sample at fault, or when the batch has neither labels nor masks
template <ModelSpec S>
[[nodiscard]] TrainingOutput training_forward(const Lisa<S>& model, const TrainingBatch& batch,
                                              const TrainingForwardOptions& options = {}) {
  using Model = Lisa<S>;
  if (batch.empty()) throw InputError("batch", "found no image, expected at least one");
  const FunctionRunner run =
      options.run ? options.run : [](const TensorFunction& function, const std::vector<at::Tensor>& inputs) {
        return function(inputs);
      };
  std::vector<const TrainingImage*> images;
  for (const TrainingImage& image : batch) images.push_back(&image);
  const at::Tensor features = detail::features_of(
      images, &TrainingImage::visual_features, &TrainingImage::pixel_values, [&](const at::Tensor& pixels) {
        return model.vision_tower.forward(model.as_input_of(model.vision_tower, pixels));
      });
  const at::Tensor visual =
      model.as_input_of(model.llm, model.visual_projector.forward(model.as_input_of(model.visual_projector, features)));

  TrainingOutput output;
  output.rows = training_rows(batch, Model::visual_tokens, Model::SegPolicy::offset, visual.options());
  output.rows.rows.attend = causal_row_attention(output.rows.rows, S::llm);
  const TrainingRows& rows = output.rows;
  const at::Tensor x =
      model.llm.embed(rows.ids).index_copy(0, rows.image_rows, visual.flatten(0, 1));  // [items * T, hidden]
  output.hidden_states = model.llm.forward(x, rows.rows, [&](auto&& block, const at::Tensor& hidden) {
    return run([block](const std::vector<at::Tensor>& inputs) { return block(inputs.front()); }, {hidden});
  });
  const LossCounts counts = options.counts.value_or(loss_counts(batch));
  const at::TensorOptions scalar = visual.options().dtype(c10::promoteTypes(visual.scalar_type(), at::kFloat));
  at::Tensor text, bce, dice;
  if (rows.labels.size(0) > 0)
    text = text_loss_sum(model.llm.logits(output.hidden_states.index_select(0, rows.label_rows)), rows.labels);
  if (rows.seg_rows.size(0) > 0) {
    output.low_res_masks = detail::decode_masks(model, batch, rows, output.hidden_states, run);
    std::tie(bce, dice) = detail::mask_loss_sums(output.low_res_masks, S::sam.image, batch);
  }
  if (!text.defined() && !bce.defined())
    throw InputError("batch", "found neither a labelled token nor a mask, expected one of them at least");
  output.losses = {detail::weighted_mean(text, options.weights.ce, counts.tokens, scalar),
                   detail::weighted_mean(bce, options.weights.bce, counts.masks, scalar),
                   detail::weighted_mean(dice, options.weights.dice, counts.masks, scalar)};
  output.loss = output.losses.total();
  return output;
}

}  // namespace lisa
