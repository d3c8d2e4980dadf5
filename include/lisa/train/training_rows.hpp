#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/llm/branched_rows.hpp"
#include "lisa/text/image_placeholder.hpp"
#include "lisa/train/training_batch.hpp"

namespace lisa {

/// Where a micro-batch's tokens, visual rows, labels and `[SEG]` stand in the language model. An image is one item of
/// the rows: its dialogues share what they begin with, at least the image.
struct TrainingRows {
  BranchedRows rows;
  at::Tensor ids;         ///< int64 [items * T], 0 where no text stands
  at::Tensor image_rows;  ///< int64 [items * visual_tokens], the rows of each item's image
  at::Tensor label_rows;  ///< int64 [L], the row whose state predicts each label
  at::Tensor labels;      ///< int64 [L]
  at::Tensor seg_rows;    ///< int64 [M], the row whose state belongs to each `[SEG]`, in the order of the masks
};

namespace detail {

/// Collects the rows of a batch, an item after the other.
class TrainingRowCollector {
 public:
  TrainingRowCollector(dim visual_tokens, dim seg_offset) : visual_tokens_(visual_tokens), seg_offset_(seg_offset) {}

  TrainingRows collect(const TrainingBatch& batch, const at::TensorOptions& options) {
    std::vector<BranchedItem> items;
    for (const TrainingImage& image : batch) items.push_back(item_of(image));
    TrainingRows result;
    result.rows = branched_rows(items, options);
    ids_.assign(static_cast<std::size_t>(result.rows.items * result.rows.length), 0);
    for (std::size_t i = 0; i < batch.size(); ++i) place(batch[i], items[i], static_cast<dim>(i) * result.rows.length);
    const auto tensor = [&](const std::vector<std::int64_t>& values) {
      return at::tensor(values, at::kLong).to(options.device());
    };
    result.ids = tensor(ids_);
    result.image_rows = tensor(image_rows_);
    result.label_rows = tensor(label_rows_);
    result.labels = tensor(labels_);
    result.seg_rows = tensor(seg_rows_);
    return result;
  }

 private:
  [[nodiscard]] BranchedItem item_of(const TrainingImage& image) const {
    if (image.dialogues.empty())
      throw InputError(printable(image.id), "sample", "found no dialogue, expected at least one");
    const std::vector<std::int64_t>& first = image.dialogues.front().ids;
    auto shared = static_cast<std::ptrdiff_t>(first.size());
    for (const DialogueTokens& tokens : image.dialogues)
      shared = std::min(shared, std::ranges::mismatch(first, tokens.ids).in1 - first.begin());
    if (std::count(first.begin(), first.begin() + shared, image_token_id) != 1)
      throw InputError(printable(image.id), "dialogues", "found no image in what they begin with, expected one");
    BranchedItem item{.trunk = static_cast<dim>(shared) + visual_tokens_ - 1, .branches = {}};
    if (image.dialogues.size() == 1) return item;
    for (const DialogueTokens& tokens : image.dialogues)
      item.branches.push_back(static_cast<dim>(tokens.ids.size()) - shared);
    return item;
  }

  void place(const TrainingImage& image, const BranchedItem& item, dim first_row) {
    const std::vector<std::int64_t>& first = image.dialogues.front().ids;
    const dim at = std::ranges::find(first, image_token_id) - first.begin();
    for (dim i = 0; i < visual_tokens_; ++i) image_rows_.push_back(first_row + at + i);
    dim branch_row = item.trunk;
    for (std::size_t d = 0; d < image.dialogues.size(); ++d) {
      const DialogueTokens& tokens = image.dialogues[d];
      const auto position = [&](std::size_t i) {
        return static_cast<dim>(i) + (static_cast<dim>(i) > at ? visual_tokens_ - 1 : 0);
      };
      const auto row = [&](dim p) { return first_row + (p < item.trunk ? p : branch_row + p - item.trunk); };
      for (std::size_t i = 0; i < tokens.ids.size(); ++i) {
        if (tokens.ids[i] != image_token_id) ids_[static_cast<std::size_t>(row(position(i)))] = tokens.ids[i];
        if (i == 0 || tokens.labels[i] == ignored_label) continue;
        label_rows_.push_back(row(position(i) - 1));
        labels_.push_back(tokens.labels[i]);
      }
      for (const std::size_t i : tokens.segs) seg_rows_.push_back(row(position(i) + seg_offset_));
      if (!item.branches.empty()) branch_row += item.branches[d];
    }
  }

  dim visual_tokens_, seg_offset_;
  std::vector<std::int64_t> ids_, image_rows_, label_rows_, labels_, seg_rows_;
};

}  // namespace detail

/// @param visual_tokens  rows of one image
/// @param seg_offset     `SegPolicy::offset`: distance from a `[SEG]` to the row that belongs to it
/// @param options        dtype and device of the language model's rows
/// @throws InputError naming the sample that has no dialogue, or dialogues that do not begin with the same image
[[nodiscard]] inline TrainingRows training_rows(const TrainingBatch& batch, dim visual_tokens, dim seg_offset,
                                                const at::TensorOptions& options) {
  return detail::TrainingRowCollector(visual_tokens, seg_offset).collect(batch, options);
}

}  // namespace lisa
