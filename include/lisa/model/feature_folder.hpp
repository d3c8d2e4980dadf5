#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
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
#include "lisa/image/pixel_hash.hpp"
#include "lisa/model/lisa_model.hpp"

namespace lisa {

/// What a model's frozen eyes make of a picture; undefined where it is not known.
struct ImageFeatures {
  at::Tensor visual;     ///< [tokens, vision hidden], of the vision tower
  at::Tensor embedding;  ///< [C, grid, grid], of the image encoder
};

/// A folder with the features of pictures: a file for each picture, named by its pixels and by the weights that looked
/// at it, so that other weights never find it. Files appear whole or not at all; several processes may share a folder.
class FeatureFolder {
 public:
  /// @param model  its vision tower and image encoder must have their weights: these are read once
  /// @throws IoError when the folder cannot be made
  template <ModelSpec S>
  FeatureFolder(std::filesystem::path folder, const Lisa<S>& model)
      : folder_(std::move(folder)), weights_(sum_of_weights(model)) {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) throw IoError(shown_path(folder_), "creating the folder", error.message());
  }

  /// What the folder has of a picture. May be called from several threads at once. A file that is broken is as good as
  /// none.
  [[nodiscard]] ImageFeatures find(const PixelHash& picture) const {
    ImageFeatures found;
    try {
      const std::filesystem::path path = path_of(picture);
      std::error_code ignored;
      if (!std::filesystem::exists(path, ignored)) return {};
      const TensorFile file = open_tensor_file(path);
      for (const StoredTensor& stored : file.tensors) {
        at::Tensor* const target = stored.name == visual_name      ? &found.visual
                                   : stored.name == embedding_name ? &found.embedding
                                                                   : nullptr;
        if (target != nullptr) *target = tensor_view(file.file, stored).clone();
      }
      file.file->require_intact();
    } catch (const Error&) {
      return {};
    }
    return found;
  }

  /// Keeps the features that are defined, in place of what the folder had of the picture.
  /// @throws IoError when they cannot be written
  void keep(const PixelHash& picture, const ImageFeatures& features) const {
    NamedTensors tensors;
    if (features.visual.defined()) tensors.emplace_back(visual_name, features.visual);
    if (features.embedding.defined()) tensors.emplace_back(embedding_name, features.embedding);
    write_safetensors(path_of(picture), tensors);
  }

 private:
  static constexpr const char* visual_name = "visual_features";
  static constexpr const char* embedding_name = "image_embedding";

  /// Two sums of everything that the features depend on beside the pixels.
  template <ModelSpec S>
  [[nodiscard]] static std::uint64_t sum_of_weights(const Lisa<S>& model) {
    const auto sum_of = [](const auto& module) {
      std::uint32_t sum = 0;
      visit_parameters(module, "", [&](const std::string&, const at::Tensor& value, const Shape&) {
        append_elements(value.detach(), [&](std::span<const std::byte> bytes) { sum = crc32c(bytes, sum); });
      });
      return std::uint64_t{sum};
    };
    return sum_of(model.vision_tower) << 32 | sum_of(model.image_encoder);
  }

  [[nodiscard]] std::filesystem::path path_of(const PixelHash& picture) const {
    std::array<char, 20> weights{};
    std::snprintf(weights.data(), weights.size(), "%016llx-", static_cast<unsigned long long>(weights_));
    return folder_ / (weights.data() + picture.text() + ".safetensors");
  }

  std::filesystem::path folder_;
  std::uint64_t weights_;
};

}  // namespace lisa
