#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/stopwatch.hpp"
#include "lisa/model/answer.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/model/mask_bits.hpp"
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
  at::Tensor logits;           ///< [N, H, W]; undefined unless asked for
};

/// Decodes the masks of one image's `[SEG]` tokens.
/// @param hidden         [N, hidden], the hidden state of each
/// @param token_indices  N indices, copied into the masks
/// @param with_logits    whether the logits at the image's size are wanted too, which masks do not need
template <ModelSpec S>
[[nodiscard]] std::pair<std::vector<AnswerMask>, MaskTensors> make_masks(const Lisa<S>& model, PreparedImage& image,
                                                                         const at::Tensor& hidden,
                                                                         const std::vector<dim>& token_indices,
                                                                         bool with_logits, StageTimes& times) {
  ensure_embedding(model, image, times);
  Stopwatch watch;
  MaskTensors tensors;
  tensors.seg_vectors = model.project_seg(hidden);
  const MaskPrediction prediction = model.mask_decoder.forward(image.embedding, tensors.seg_vectors);
  tensors.low_res_masks = prediction.low_res_masks.to(at::kCPU);
  tensors.iou_predictions = prediction.iou_predictions.to(at::kCPU);
  times.mask_decoder += watch.lap();
  const at::Tensor low_res = tensors.low_res_masks.select(1, 0).to(at::kFloat);  // [N, 4g, 4g]
  const auto extent = [](const ImageSize& size) { return ImageExtent{size.height, size.width}; };
  std::vector<BitMask> bits = mask_bits(prediction.low_res_masks.select(1, 0), image.sam.image.size(-1),
                                        extent(image.sam.resized_size), extent(image.sam.original_size));
  std::vector<AnswerMask> masks;
  for (std::size_t i = 0; i < token_indices.size(); ++i) {
    const auto n = static_cast<std::int64_t>(i);
    masks.push_back({std::move(bits[i]), token_indices[i], tensors.iou_predictions[n][0].item<double>(),
                     stability_score(low_res[n]).item<double>(), low_res[n]});
  }
  if (with_logits) {
    const ImageSize size = image.sam.original_size;
    std::vector<at::Tensor> logits{aten::empty({0, size.height, size.width}, at::kFloat)};
    for (const AnswerMask& mask : masks) logits.push_back(full_size_logits(mask.low_res_logits, image).unsqueeze(0));
    tensors.logits = aten::cat(logits);
  }
  times.upsample += watch.lap();
  return {std::move(masks), std::move(tensors)};
}

}  // namespace lisa
