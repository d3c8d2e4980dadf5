#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include <concepts>
#include <initializer_list>
#include <optional>
#include <type_traits>
#include <utility>

#include "lisa/base/stopwatch.hpp"
#include "lisa/gpu/pending_tensor.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/preprocess_pixels.hpp"
#include "lisa/image/preprocess_tensor.hpp"
#include "lisa/model/answer.hpp"
#include "lisa/model/feature_folder.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/sam/encoding.hpp"

namespace lisa {

/// An image as a model sees it: encoded once, asked about often. The visual rows exist from the start; the embedding
/// for masks is computed when the first mask needs it, so that a text answer does not pay for it.
struct PreparedImage {
  SamInput sam;                ///< the mask decoder's view: whole image, padded
  ClipInput clip;              ///< the language model's view: centre square
  at::Tensor visual_features;  ///< [tokens, vision hidden]
  at::Tensor visual_rows;      ///< [tokens, hidden]
  at::Tensor embedding;        ///< [1, C, grid, grid], undefined until `ensure_embedding`
  Encoding encoding;           ///< what has been done towards the embedding
  /// The embedding while a stream of its own computes it, until `ensure_embedding` takes it from there.
  std::optional<gpu::PendingTensor> pending_embedding;
};

namespace detail {

template <class Class, class Result, class... Arguments>
std::type_identity<Class> class_of(Result (Class::*)(Arguments...) const);

}  // namespace detail

/// An image encoder that can stop between steps and go on later. The steps must be of the same class as `forward`: one
/// that derives from another and changes only `forward` runs as a whole.
template <class M>
concept SteppedEncoder = requires(const M& encoder, const at::Tensor& images, Encoding& encoding) {
  { encoder.begin(images) } -> std::same_as<Encoding>;
  encoder.advance(encoding);
  requires std::same_as<decltype(detail::class_of(&M::forward)), decltype(detail::class_of(&M::advance))>;
};

/// Starts the image encoder on a stream of its own, beside what the current stream is given from now on, unless the
/// image has been through it or is on its way.
template <ModelSpec S>
void encode_on_own_stream(const Lisa<S>& model, PreparedImage& image) {
  if (image.embedding.defined() || image.pending_embedding) return;
  const c10::InferenceMode no_gradients;
  const at::Tensor& planes = image.sam.image;
  const c10::Device device = model.options_of_input(model.image_encoder, planes.options()).device();
  const auto encode = [&] { return model.encode_image(planes.unsqueeze(0)); };
  // The picture may be dropped while the stream still reads its planes.
  if (planes.device().is_cuda())
    image.pending_embedding.emplace(device, encode, std::initializer_list<at::Tensor>{planes});
  else
    image.pending_embedding.emplace(device, encode);
}

namespace detail {

/// Preprocesses an image for both encoders, where these are if kernels can, else on the CPU: SAM's part first, because
/// its encoder takes longest.
/// @param sam_done  called when SAM's part is there, before the vision tower's is made
template <ModelSpec S, class SamDone>
void preprocess_picture(const Lisa<S>& model, const Image& image, const std::optional<at::Tensor>& pixels,
                        const SamPreprocess& sam, const ClipPreprocess& clip, PreparedImage& prepared,
                        const SamDone& sam_done) {
  const auto dtype_for = [&](const auto& module) {
    return model.options_of_input(module, at::TensorOptions().dtype(at::kFloat)).dtype().toScalarType();
  };
  prepared.sam = pixels ? preprocess_sam(*pixels, sam, dtype_for(model.image_encoder)) : preprocess_sam(image, sam);
  sam_done();
  prepared.clip = pixels ? preprocess_clip(*pixels, clip, dtype_for(model.vision_tower)) : preprocess_clip(image, clip);
}

}  // namespace detail

/// Preprocesses an image and runs the vision tower and the visual projector.
/// @param known  features of the same image by the same weights, which are then not computed
/// @param start  of the image encoder; one that is to be done when this returns is the caller's affair
/// @throws InputError for an image without pixels or of an aspect ratio that leaves no pixels
template <ModelSpec S>
[[nodiscard]] PreparedImage prepare_image(const Lisa<S>& model, const Image& image, const SamPreprocess& sam,
                                          const ClipPreprocess& clip, StageTimes& times,
                                          const ImageFeatures& known = {},
                                          EncoderStart start = EncoderStart::at_first_mask) {
  const c10::InferenceMode no_gradients;
  Stopwatch watch;
  PreparedImage prepared;
  if (known.embedding.defined())
    prepared.embedding = model.as_input_of(model.image_encoder, known.embedding.unsqueeze(0));
  const c10::Device device = model.options_of_input(model.image_encoder, at::TensorOptions()).device();
  const auto start_encoder = [&] {
    if (start != EncoderStart::at_first_mask && device.is_cuda()) encode_on_own_stream(model, prepared);
  };
  detail::preprocess_picture(model, image, pixels_for_kernels(image, device), sam, clip, prepared, start_encoder);
  times.preprocess += watch.lap();
  const auto visual = known.visual.defined()
                          ? model.project_visual(model.as_input_of(model.vision_tower, known.visual.unsqueeze(0)))
                          : model.encode_visual(prepared.clip.pixel_values.unsqueeze(0));
  prepared.visual_features = visual.features[0];
  prepared.visual_rows = visual.projected[0];
  times.vision_tower += watch.lap();
  return prepared;
}

/// Takes an image one step further towards its embedding, which is defined afterwards if that was the last one. An
/// encoder without steps runs as a whole. After an error the image is as it was.
template <ModelSpec S>
void encode_further(const Lisa<S>& model, PreparedImage& image) {
  const c10::InferenceMode no_gradients;
  if constexpr (SteppedEncoder<typename Lisa<S>::ImageEncoder>) {
    if (!image.encoding.begun())
      image.encoding = model.image_encoder.begin(model.as_input_of(model.image_encoder, image.sam.image.unsqueeze(0)));
    else
      model.image_encoder.advance(image.encoding);
    if (image.encoding.complete) image.embedding = std::exchange(image.encoding, {}).tokens;
  } else {
    image.embedding = model.encode_image(image.sam.image.unsqueeze(0));
  }
}

/// Runs what is left of the image encoder's work, unless the image has been through it. What another stream computes is
/// waited for by the current stream, not by the host.
template <ModelSpec S>
void ensure_embedding(const Lisa<S>& model, PreparedImage& image, StageTimes& times) {
  if (const auto pending = std::exchange(image.pending_embedding, std::nullopt)) image.embedding = pending->get();
  if (image.embedding.defined()) return;
  Stopwatch watch;
  while (!image.embedding.defined()) encode_further(model, image);
  times.image_encoder += watch.lap();
}

}  // namespace lisa
