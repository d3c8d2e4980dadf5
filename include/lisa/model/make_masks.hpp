#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/stopwatch.hpp"
#include "lisa/image/mask_tensor.hpp"
#include "lisa/model/answer.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/model/prepared_image.hpp"
#include "lisa/sam/upsample.hpp"

namespace lisa {

/// Logits of a mask at its image's size, fp32 [H, W].
[[nodiscard]] inline at::Tensor full_size_logits(const at::Tensor& low_res_logits, const PreparedImage& image) {
  const auto extent = [](const ImageSize& size) { return ImageExtent{size.height, size.width}; };
  const dim side = image.sam.image.size(-1);
  return mask_logits(low_res_logits.unsqueeze(0).unsqueeze(0), side, extent(image.sam.resized_size),
                     extent(image.sam.original_size))[0][0];
}

/// Tensors that `make_masks` passes through, for a trace.
struct MaskTensors {
  at::Tensor seg_vectors;      ///< [N, prompt_dim]
  at::Tensor low_res_masks;    ///< [N, 1, 4g, 4g]
  at::Tensor iou_predictions;  ///< [N, 1]
  at::Tensor logits;           ///< [N, H, W]
};

/// Decodes the masks of one image's `[SEG]` tokens.
/// @param hidden         [N, hidden], the hidden state of each
/// @param token_indices  N indices, copied into the masks
template <ModelSpec S>
[[nodiscard]] std::pair<std::vector<AnswerMask>, MaskTensors> make_masks(const Lisa<S>& model, PreparedImage& image,
                                                                         const at::Tensor& hidden,
                                                                         const std::vector<dim>& token_indices,
                                                                         StageTimes& times) {
  ensure_embedding(model, image, times);
  Stopwatch watch;
  MaskTensors tensors;
  tensors.seg_vectors = model.project_seg(hidden);
  const MaskPrediction prediction = model.mask_decoder.forward(image.embedding, tensors.seg_vectors);
  tensors.low_res_masks = prediction.low_res_masks.to(at::kCPU);
  tensors.iou_predictions = prediction.iou_predictions.to(at::kCPU);
  times.mask_decoder += watch.lap();
  std::vector<AnswerMask> masks;
  std::vector<at::Tensor> logits;
  for (std::size_t i = 0; i < token_indices.size(); ++i) {
    const auto n = static_cast<std::int64_t>(i);
    const at::Tensor low_res = tensors.low_res_masks[n][0].to(at::kFloat);
    logits.push_back(full_size_logits(low_res, image));
    masks.push_back({mask_from_logits(logits.back()), token_indices[i], tensors.iou_predictions[n][0].item<double>(),
                     stability_score(low_res).item<double>(), low_res});
  }
  const ImageSize size = image.sam.original_size;
  tensors.logits = logits.empty() ? at::empty({0, size.height, size.width}, at::kFloat) : at::stack(logits);
  times.upsample += watch.lap();
  return {std::move(masks), std::move(tensors)};
}

}  // namespace lisa
