#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "lisa/config/sam.hpp"
#include "lisa/nn/parameter.hpp"
#include "lisa/sam/mask_decoder.hpp"
#include "lisa/sam/prompt_encoder.hpp"

namespace lisa {

/// SAM's part behind the image encoder: prompt encoder and mask decoder, with the prompts that LISA gives them.
template <SamConfig C>
struct SamMaskHead {
  static constexpr dim prompt_dim = C.prompt_dim;
  static constexpr dim image_dim = C.prompt_dim;   ///< channels of the image embedding it reads
  static constexpr dim low_res_side = low_res(C);  ///< pixels of its masks' side
  static constexpr dim image_side = C.image;       ///< pixels of the padded square that its masks cover

  SamPromptEncoder<C> prompt_encoder;
  SamMaskDecoder<C> mask_decoder;
  at::Tensor dense_pe;  ///< [prompt_dim, g, g], filled by `prepare`

  /// Computes the positional encoding of the image grid, once after loading.
  void prepare(PositionalPrecision precision) { dense_pe = prompt_encoder.dense_pe(precision); }

  /// One mask for each prompt.
  /// @param image_embedding  [1, prompt_dim, g, g], shared by the prompts, or [N, prompt_dim, g, g], one for each
  /// @param prompts          [N, prompt_dim], projected hidden states of `[SEG]` tokens
  [[nodiscard]] MaskPrediction forward(const at::Tensor& image_embedding, const at::Tensor& prompts) const {
    const at::Tensor tokens = prompts.to(prompt_encoder.no_mask.options()).unsqueeze(1);  // [N, 1, prompt_dim]
    return mask_decoder.forward(image_embedding, dense_pe, prompt_encoder.forward(tokens));
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    prompt_encoder.for_each_parameter(scoped(prefix, "prompt_encoder"), visit);
    mask_decoder.for_each_parameter(scoped(prefix, "mask_decoder"), visit);
  }
};

}  // namespace lisa
