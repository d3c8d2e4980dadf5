#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <stdexcept>
#include <string>

#include "lisa/checkpoint/archive.hpp"
#include "lisa/config/clip.hpp"
#include "lisa/config/sam.hpp"
#include "lisa/nn/parameter.hpp"

namespace lisa::test {

/// Sizes of tests/golden/clip_a and of the SAM inside tests/golden/model_a.
inline constexpr ClipConfig golden_clip{.hidden = 32, .mlp = 64, .layers = 3, .heads = 4};
inline constexpr SamConfig golden_sam{.image = 256,
                                      .hidden = 32,
                                      .mlp = 128,
                                      .layers = 4,
                                      .heads = 2,
                                      .global_blocks = {1, 3},
                                      .prompt_dim = 32,
                                      .decoder_heads = 4,
                                      .decoder_mlp = 64,
                                      .iou_head_hidden = 32};

/// Tensors of a file or folder below tests/golden.
inline std::map<std::string, at::Tensor> golden_tensors(const std::string& path) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, entry] : read_archive(std::string(LISA_TEST_DATA "/golden/") + path).tensors) {
    tensors[name] = entry.value;
  }
  return tensors;
}

/// Gives a module its tensors; throws where one is missing or of another shape.
template <Module M>
void assign_parameters(M& module, const std::string& prefix, const std::map<std::string, at::Tensor>& tensors,
                       at::ScalarType dtype = at::kFloat) {
  module.for_each_parameter(prefix, [&](const std::string& name, at::Tensor& value, const Shape& shape) {
    const auto found = tensors.find(name);
    if (found == tensors.end() || shape_of(found->second) != shape) throw std::runtime_error("golden tensor " + name);
    value = found->second.to(dtype);
  });
}

}  // namespace lisa::test
