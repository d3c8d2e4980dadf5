#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include "lisa/base/stopwatch.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/preprocess_tensor.hpp"
#include "lisa/model/answer.hpp"
#include "lisa/model/feature_folder.hpp"
#include "lisa/model/lisa_model.hpp"

namespace lisa {

/// An image as a model sees it: encoded once, asked about often. The visual rows exist from the start; the embedding
/// for masks is computed when the first mask needs it, so that a text answer does not pay for it.
struct PreparedImage {
  SamInput sam;                ///< the mask decoder's view: whole image, padded
  ClipInput clip;              ///< the language model's view: centre square
  at::Tensor visual_features;  ///< [tokens, vision hidden]
  at::Tensor visual_rows;      ///< [tokens, hidden]
  at::Tensor embedding;        ///< [1, C, grid, grid], undefined until `ensure_embedding`
};

/// Preprocesses an image and runs the vision tower and the visual projector.
/// @param known  features of the same image by the same weights, which are then not computed
/// @throws InputError for an image without pixels or of an aspect ratio that leaves no pixels
template <ModelSpec S>
[[nodiscard]] PreparedImage prepare_image(const Lisa<S>& model, const Image& image, const SamPreprocess& sam,
                                          const ClipPreprocess& clip, StageTimes& times,
                                          const ImageFeatures& known = {}) {
  const c10::InferenceMode no_gradients;
  Stopwatch watch;
  PreparedImage prepared{preprocess_sam(image, sam), preprocess_clip(image, clip), {}, {}, {}};
  times.preprocess += watch.lap();
  const auto visual = known.visual.defined()
                          ? model.project_visual(model.as_input_of(model.vision_tower, known.visual.unsqueeze(0)))
                          : model.encode_visual(prepared.clip.pixel_values.unsqueeze(0));
  if (known.embedding.defined())
    prepared.embedding = model.as_input_of(model.image_encoder, known.embedding.unsqueeze(0));
  prepared.visual_features = visual.features[0];
  prepared.visual_rows = visual.projected[0];
  times.vision_tower += watch.lap();
  return prepared;
}

/// Runs the image encoder unless the image has been through it.
template <ModelSpec S>
void ensure_embedding(const Lisa<S>& model, PreparedImage& image, StageTimes& times) {
  if (image.embedding.defined()) return;
  const c10::InferenceMode no_gradients;
  Stopwatch watch;
  image.embedding = model.encode_image(image.sam.image.unsqueeze(0));
  times.image_encoder += watch.lap();
}

}  // namespace lisa
