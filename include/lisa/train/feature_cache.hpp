#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <utility>

#include "lisa/image/image.hpp"
#include "lisa/image/pixel_hash.hpp"
#include "lisa/model/feature_folder.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/train/trainable_parts.hpp"
#include "lisa/train/training_batch.hpp"

namespace lisa {

/// Keeps on the disk what frozen parts make of an image, the vision tower's features and the image encoder's embedding,
/// so that every image passes them once, however many epochs and runs use it (`FeatureFolder`).
template <ModelSpec S>
class FeatureCache {
 public:
  /// @param parts  what trains: features of a part that trains are never kept
  /// @throws IoError when the folder cannot be made
  FeatureCache(std::filesystem::path folder, const Lisa<S>& model, const TrainableParts& parts)
      : folder_(std::move(folder), model),
        model_(model),
        visual_(!parts.vision_tower),
        embedding_(!parts.image_encoder) {}

  /// Fills in what the cache holds for an image. May be called from several threads at once. A file that is broken is
  /// as good as none.
  void find(const Image& pixels, TrainingImage& image) const {
    const ImageFeatures found = folder_.find(pixel_hash(pixels));
    if (visual_) image.visual_features = found.visual;
    if (embedding_) image.image_embedding = found.embedding;
  }

  /// Computes the features that an image still lacks and keeps them. Images without masks need no embedding.
  /// @throws IoError when they cannot be written
  void complete(const Image& pixels, TrainingImage& image) const {
    const bool needs_embedding = embedding_ && image.masks.size(0) > 0 && !image.image_embedding.defined();
    if ((!visual_ || image.visual_features.defined()) && !needs_embedding) return;
    const at::NoGradGuard no_gradients;
    if (visual_ && !image.visual_features.defined())
      image.visual_features =
          model_.vision_tower.forward(model_.as_input_of(model_.vision_tower, image.pixel_values.unsqueeze(0)))[0];
    if (needs_embedding) image.image_embedding = model_.encode_image(image.sam_image.unsqueeze(0))[0];
    folder_.keep(pixel_hash(pixels), {image.visual_features, image.image_embedding});
  }

 private:
  FeatureFolder folder_;
  const Lisa<S>& model_;
  bool visual_, embedding_;
};

}  // namespace lisa
