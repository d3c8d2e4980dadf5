#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/text/image_placeholder.hpp"

namespace lisa {

/// Embeddings of token ids, [T, hidden], computed on `device`.
template <class Backbone>
[[nodiscard]] at::Tensor embed_ids(const Backbone& llm, std::span<const std::int64_t> ids, at::Device device) {
  return llm.embed(at::tensor(at::IntArrayRef(ids.data(), ids.size()), at::kLong).to(device));
}

/// A prompt as the language model's positions: every text token is one, an image is one per visual token. The keys say
/// what stands at each position, so that two prompts share a cache exactly as far as their keys agree.
class PromptRows {
 public:
  /// @param ids            token ids, `image_token_id` where the image stands
  /// @param visual_tokens  positions of an image
  /// @param image_serial   tells images apart, >= 0
  PromptRows(std::span<const std::int64_t> ids, dim visual_tokens, std::int64_t image_serial) {
    for (const std::int64_t id : ids) {
      position_of_.push_back(static_cast<dim>(keys_.size()));
      if (id != image_token_id) {
        keys_.push_back(id);
        continue;
      }
      for (dim i = 0; i < visual_tokens; ++i) keys_.push_back(-1 - (image_serial * visual_tokens + i));
    }
    visual_tokens_ = visual_tokens;
  }

  [[nodiscard]] dim size() const { return static_cast<dim>(keys_.size()); }
  [[nodiscard]] const std::vector<std::int64_t>& keys() const { return keys_; }

  /// First position of the id at `index`.
  [[nodiscard]] dim position(std::size_t index) const { return position_of_[index]; }

  /// Positions at the beginning that equal those of `other`.
  [[nodiscard]] dim common_prefix(std::span<const std::int64_t> other) const {
    const auto [mine, theirs] = std::mismatch(keys_.begin(), keys_.end(), other.begin(), other.end());
    return mine - keys_.begin();
  }

  /// Embeddings of the positions from `begin` on.
  /// @param embed   ids [T] -> [T, hidden]
  /// @param visual  [visual_tokens, hidden], needed only when a visual position is in the range
  /// @return        [size() - begin, hidden]
  template <class Embed>
  [[nodiscard]] at::Tensor embeddings(dim begin, const Embed& embed, const at::Tensor& visual) const {
    std::vector<at::Tensor> parts;
    for (dim p = begin; p < size();) {
      const bool is_text = key(p) >= 0;
      dim end = p;
      while (end < size() && (key(end) >= 0) == is_text && (is_text || end == p || visual_index(end) != 0)) ++end;
      if (is_text)
        parts.push_back(
            embed(std::span(keys_).subspan(static_cast<std::size_t>(p), static_cast<std::size_t>(end - p))));
      else
        parts.push_back(visual.narrow(0, visual_index(p), end - p));
      p = end;
    }
    return parts.size() == 1 ? parts.front() : aten::cat(parts, 0);
  }

 private:
  [[nodiscard]] std::int64_t key(dim position) const { return keys_[static_cast<std::size_t>(position)]; }
  [[nodiscard]] dim visual_index(dim position) const { return (-1 - key(position)) % visual_tokens_; }

  std::vector<std::int64_t> keys_;
  std::vector<dim> position_of_;
  dim visual_tokens_ = 1;
};

}  // namespace lisa
