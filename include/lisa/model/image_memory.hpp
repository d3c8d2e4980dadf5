#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "lisa/image/pixel_hash.hpp"
#include "lisa/model/prepared_image.hpp"
#include "lisa/model/prompt_cache.hpp"

namespace lisa {

/// Memory of what a prepared image holds.
[[nodiscard]] inline std::size_t bytes_of(const PreparedImage& image) {
  std::size_t bytes = image.pending_embedding ? image.pending_embedding->nbytes() : 0;
  for (const at::Tensor& tensor : {image.sam.image, image.sam.resized, image.clip.pixel_values, image.clip.crop,
                                   image.visual_features, image.visual_rows, image.embedding, image.encoding.tokens})
    if (tensor.defined()) bytes += tensor.nbytes();
  return bytes;
}

/// An image that a model has seen, and what the language model's cache had of it.
struct SeenImage {
  PixelHash picture{};
  std::unique_ptr<PreparedImage> image{};  ///< its address stays
  std::int64_t serial = 0;                 ///< tells images apart that share a cache
  int stored_features = 0;                 ///< how many of its features a folder holds
  std::optional<PromptCache> prompt{};     ///< keys and values up to the image's end, if they are kept

  [[nodiscard]] std::size_t bytes() const { return bytes_of(*image) + (prompt ? prompt->bytes() : 0); }
};

/// Images seen before, within a bound of memory: the least recently used goes first.
class ImageMemory {
 public:
  /// @param limit bytes of all images together; 0 keeps none
  explicit ImageMemory(std::size_t limit = 0) : limit_(limit) {}

  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
  [[nodiscard]] std::size_t size() const noexcept { return seen_.size(); }

  [[nodiscard]] std::size_t bytes() const {
    std::size_t sum = 0;
    for (const SeenImage& seen : seen_) sum += seen.bytes();
    return sum;
  }

  /// Takes an image out, if it is there.
  [[nodiscard]] std::optional<SeenImage> take(const PixelHash& picture) {
    const auto found = std::ranges::find(seen_, picture, &SeenImage::picture);
    if (found == seen_.end()) return std::nullopt;
    std::optional<SeenImage> taken = std::move(*found);
    seen_.erase(found);
    return taken;
  }

  /// Puts an image in as the most recently used and drops others for it. One that is too large alone is not kept.
  void put(SeenImage image) {
    if (image.bytes() > limit_) return;
    seen_.push_back(std::move(image));
    while (bytes() > limit_) seen_.pop_front();
  }

 private:
  std::size_t limit_;
  std::deque<SeenImage> seen_;  ///< the least recently used first
};

}  // namespace lisa
