#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/image/preprocess_tensor.hpp"
#include "lisa/model/loaded_model.hpp"
#include "lisa/sam/upsample.hpp"
#include "lisa/text/tokenizer.hpp"
#include "lisa/train/dialogue_tokens.hpp"
#include "lisa/train/losses.hpp"

namespace lisa {

/// How samples become tensors.
struct TrainingFormat {
  DialogueFormat dialogue;
  SamPreprocess sam;
  ClipPreprocess clip;
};

/// The format that a model's checkpoint asks for.
/// @param max_positions longest dialogue, the image's positions included; at most the model's context
template <ModelSpec S>
[[nodiscard]] TrainingFormat training_format(const LoadedModel<S>& loaded, const ConversationTemplate& style = llava_v1,
                                             dim max_positions = 512) {
  return {.dialogue = {.style = style,
                       .mark = loaded.image_start_end ? image_mark : bare_image_mark,
                       .visual_tokens = Lisa<S>::visual_tokens,
                       .max_positions = std::min(max_positions, S::llm.context)},
          .sam = loaded.sam_preprocess,
          .clip = loaded.clip_preprocess};
}

/// An image with its dialogues, ready for the model. All its dialogues share its features and its embedding.
struct TrainingImage {
  std::string id;           ///< the sample's
  at::Tensor pixel_values;  ///< fp32 [3, crop, crop], for the vision tower
  at::Tensor sam_image;     ///< fp32 [3, side, side], for the image encoder
  ImageExtent resized{};    ///< part of `sam_image` that is not padding
  ImageExtent original{};   ///< size of the masks
  std::vector<DialogueTokens> dialogues;
  at::Tensor masks;              ///< uint8 [M, H, W] as in `LabelMask`, of all dialogues' `[SEG]` in their order
  at::Tensor visual_features{};  ///< [tokens, vision hidden] when known already; undefined: computed from pixel_values
  at::Tensor image_embedding{};  ///< [C, grid, grid] when known already; undefined: computed from sam_image
};

/// The images of a micro-batch.
using TrainingBatch = std::vector<TrainingImage>;

namespace detail {

/// All masks of a sample, uint8 [M, H, W].
inline at::Tensor label_tensor(const Sample& sample) {
  const ImageSize size{sample.image.height, sample.image.width};
  std::int64_t count = 0;
  for (const Dialogue& dialogue : sample.dialogues) count += static_cast<std::int64_t>(dialogue.masks.size());
  at::Tensor labels = aten::empty({count, size.height, size.width}, at::kByte);
  auto* out = labels.mutable_data_ptr<std::uint8_t>();
  const std::size_t pixels = static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width);
  for (const Dialogue& dialogue : sample.dialogues) {
    for (const LabelMask& mask : dialogue.masks) {
      if (mask.size != size || mask.labels.size() != pixels)
        throw InputError(
            printable(sample.id), "mask",
            found_expected(std::to_string(mask.size.width) + "x" + std::to_string(mask.size.height),
                           std::to_string(size.width) + "x" + std::to_string(size.height) + ", the image's size"));
      std::memcpy(out, mask.labels.data(), pixels);
      out += pixels;
    }
  }
  return labels;
}

}  // namespace detail

/// Preprocesses a sample. May run in any thread.
/// @throws InputError naming the sample: a dialogue that cannot be trained on, a mask of another size than the image
[[nodiscard]] inline TrainingImage prepare_training_image(const Sample& sample, const Tokenizer& tokenizer,
                                                          const TrainingFormat& format) {
  const auto extent = [](const ImageSize& size) { return ImageExtent{size.height, size.width}; };
  SamInput sam = preprocess_sam(sample.image, format.sam);
  TrainingImage image{.id = sample.id,
                      .pixel_values = preprocess_clip(sample.image, format.clip).pixel_values,
                      .sam_image = std::move(sam.image),
                      .resized = extent(sam.resized_size),
                      .original = extent(sam.original_size),
                      .dialogues = {},
                      .masks = detail::label_tensor(sample)};
  for (const Dialogue& dialogue : sample.dialogues)
    image.dialogues.push_back(tokenize_dialogue(dialogue, tokenizer, format.dialogue, sample.id));
  return image;
}

/// What the losses of a micro-batch are averaged over. Summed over processes, or micro-batches, it makes their losses
/// those of one large batch.
[[nodiscard]] inline LossCounts loss_counts(const TrainingBatch& batch) {
  LossCounts counts;
  for (const TrainingImage& image : batch) {
    counts.masks += static_cast<double>(image.masks.size(0));
    for (const DialogueTokens& tokens : image.dialogues)
      for (std::size_t i = 1; i < tokens.labels.size(); ++i) counts.tokens += tokens.labels[i] == ignored_label ? 0 : 1;
  }
  return counts;
}

}  // namespace lisa
