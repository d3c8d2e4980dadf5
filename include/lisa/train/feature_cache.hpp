#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/checkpoint/tensor_file.hpp"
#include "lisa/checkpoint/tensor_view.hpp"
#include "lisa/files/crc32c.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/image/image.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/model/part.hpp"
#include "lisa/train/trainable_parts.hpp"
#include "lisa/train/training_batch.hpp"

namespace lisa {

/// Keeps on the disk what frozen parts make of an image: the vision tower's features and the image encoder's embedding,
/// so that every image passes them once, however many epochs and runs use it. A file for each image, named by its
/// pixels and by the weights that looked at it; other weights never find it. Several processes may share a folder.
template <ModelSpec S>
class FeatureCache {
 public:
  /// @param parts  what trains: features of a part that trains are never kept
  /// @throws IoError when the folder cannot be made
  FeatureCache(std::filesystem::path folder, Lisa<S>& model, const TrainableParts& parts)
      : folder_(std::move(folder)),
        model_(model),
        visual_(!parts.vision_tower),
        embedding_(!parts.image_encoder),
        weights_sum_(sum_of_weights()) {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) throw IoError(shown_path(folder_), "creating the folder", error.message());
  }

  /// Fills in what the cache holds for an image. May be called from several threads at once. A file that is broken is
  /// as good as none.
  void find(const Image& pixels, TrainingImage& image) const {
    try {
      const std::filesystem::path path = path_of(pixels);
      std::error_code ignored;
      if (!std::filesystem::exists(path, ignored)) return;
      const TensorFile file = open_tensor_file(path);
      for (const StoredTensor& stored : file.tensors) {
        at::Tensor* const target = stored.name == visual_name && visual_         ? &image.visual_features
                                   : stored.name == embedding_name && embedding_ ? &image.image_embedding
                                                                                 : nullptr;
        if (target != nullptr) *target = tensor_view(file.file, stored).clone();
      }
      file.file->require_intact();
    } catch (const Error&) {
      image.visual_features = image.image_embedding = at::Tensor();
    }
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
    NamedTensors tensors;
    if (image.visual_features.defined()) tensors.emplace_back(visual_name, image.visual_features);
    if (image.image_embedding.defined()) tensors.emplace_back(embedding_name, image.image_embedding);
    write_safetensors(path_of(pixels), tensors);
  }

 private:
  static constexpr const char* visual_name = "visual_features";
  static constexpr const char* embedding_name = "image_embedding";

  /// Two sums of everything that the features depend on beside the pixels.
  [[nodiscard]] std::uint64_t sum_of_weights() const {
    std::array<std::uint32_t, 2> sums{};
    model_.for_each_part([&](Part part, auto& module, const std::string& prefix) {
      if (part != Part::vision_tower && part != Part::image_encoder) return;
      std::uint32_t& sum = sums[part == Part::vision_tower ? 0 : 1];
      module.for_each_parameter(prefix, [&](const std::string&, at::Tensor& value, const Shape&) {
        append_elements(value.detach(), [&](std::span<const std::byte> bytes) { sum = crc32c(bytes, sum); });
      });
    });
    return std::uint64_t{sums[0]} << 32 | sums[1];
  }

  [[nodiscard]] std::filesystem::path path_of(const Image& pixels) const {
    // 64 bits of FNV-1a beside a CRC of the same pixels: 96 bits.
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const std::uint8_t byte : pixels.pixels) hash = (hash ^ byte) * 0x100000001b3U;
    std::array<char, 96> name{};
    std::snprintf(name.data(), name.size(), "%016llx-%dx%d-%016llx%08x.safetensors",
                  static_cast<unsigned long long>(weights_sum_), pixels.width, pixels.height,
                  static_cast<unsigned long long>(hash), crc32c(std::as_bytes(std::span(pixels.pixels))));
    return folder_ / name.data();
  }

  std::filesystem::path folder_;
  Lisa<S>& model_;
  bool visual_, embedding_;
  std::uint64_t weights_sum_;
};

}  // namespace lisa
