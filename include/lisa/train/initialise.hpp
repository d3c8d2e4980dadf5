#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/name_hash.hpp"
#include "lisa/data/random.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/nn/parameter.hpp"
#include "lisa/nn/quantised_linear.hpp"

namespace lisa {

/// How the first values of a tensor are distributed.
struct InitialDistribution {
  enum class Kind { constant, normal, uniform };
  Kind kind = Kind::constant;
  double scale = 0;  ///< the constant, the standard deviation, or the bound of [-scale, scale)
  bool operator==(const InitialDistribution&) const = default;
};

/// First values of a weight for training from scratch, by its name and shape:
///  - vectors: 1 for the scale of a norm, 0 for a bias;
///  - linear maps and convolutions: uniform within 1 / sqrt(inputs of one output), the default of PyTorch's layers;
///  - token embeddings and the maps inside the language model: normal with 1 / sqrt(width), near LLaMA's 0.02 at its
///    widths. PyTorch's default is little more than half of that, and attention so even that what one word of a long
///    prompt says hardly reaches the answer;
///  - CLIP's class embedding, its positions and those of SAM's encoder: normal with 0.02;
///  - SAM's relative positions: 0; its tokens and positional matrix: standard normal (segment_anything/modeling).
[[nodiscard]] inline InitialDistribution initial_distribution(std::string_view name, const Shape& shape) {
  using enum InitialDistribution::Kind;
  const auto contains = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  const auto bound = [](std::int64_t inputs) { return 1 / std::sqrt(static_cast<double>(inputs)); };
  if (contains("rel_pos_")) return {constant, 0};
  for (const std::string_view token : {"positional_encoding_gaussian_matrix", "point_embeddings", "not_a_point_embed",
                                       "no_mask_embed", "iou_token", "mask_tokens"})
    if (contains(token)) return {normal, 1};
  for (const std::string_view place : {"class_embedding", "position_embedding", "pos_embed"})
    if (contains(place)) return {normal, 0.02};
  if (shape.size() == 1) return {constant, name.ends_with("weight") ? 1.0 : 0.0};
  if (name.ends_with("embed_tokens.weight") || name.starts_with("model.layers.")) return {normal, bound(shape[1])};
  // A transposed convolution whose kernel is its stride: an output pixel has one input pixel, [in, out, 2, 2].
  if (contains("output_upscaling")) return {uniform, bound(shape[0])};
  std::int64_t inputs = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) inputs *= shape[i];
  return {uniform, bound(inputs)};
}

/// Values of a distribution that depend on the seed and the tensor's name only.
[[nodiscard]] inline at::Tensor initial_values(const InitialDistribution& distribution, const Shape& shape,
                                               std::uint64_t seed, std::string_view name,
                                               const at::TensorOptions& options) {
  using enum InitialDistribution::Kind;
  if (distribution.kind == constant) return aten::full(shape, distribution.scale, options);
  Random random({seed, name_hash(name)});
  at::Tensor values = aten::empty(shape, at::kFloat);
  auto* const out = values.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i)
    out[i] = static_cast<float>(distribution.kind == normal ? distribution.scale * random.normal()
                                                            : random.uniform(-distribution.scale, distribution.scale));
  return values.to(options);
}

/// Gives first values to the tensors that have none yet, never to others: what was loaded is kept. Then prepares the
/// model for use.
/// @param options dtype and device of the new tensors
/// @return their names
template <ModelSpec S>
[[nodiscard]] std::vector<std::string> initialise_missing(Lisa<S>& model, std::uint64_t seed,
                                                          const at::TensorOptions& options = at::kFloat) {
  std::vector<std::string> initialised;
  model.for_each_part([&](Part, auto& module, const std::string& prefix) {
    module.for_each_parameter(prefix, [&](const std::string& name, at::Tensor& value, const Shape& shape) {
      if (value.defined()) return;
      value = initial_values(initial_distribution(name, shape), shape, seed, name, options);
      initialised.push_back(name);
    });
  });
  model.prepare();
  return initialised;
}

/// Gives first values to the adapters that have none yet, in the dtype of the weights beside them, or of the model's
/// others where those are quantised: A uniform within 1 / sqrt(inputs), B zero, so that the model answers as before (Hu
/// et al. 2021; PEFT's default).
/// @return the names of the new tensors
template <ModelSpec S>
[[nodiscard]] std::vector<std::string> initialise_adapters(Lisa<S>& model, std::uint64_t seed) {
  std::vector<std::string> initialised;
  at::TensorOptions floating;
  model.llm.for_each_parameter("", [&](const std::string&, const at::Tensor& value, const Shape&) {
    if (!is_quantised(value)) floating = value.options();
  });
  model.llm.for_each_projection([&](const std::string& projection_name, auto& projection) {
    const at::TensorOptions options =
        is_quantised(projection.base.weight) ? floating : projection.base.weight.options();
    projection.for_each_adapter(projection_name, [&](const std::string& name, at::Tensor& value, const Shape& shape) {
      if (value.defined()) return;
      const bool is_a = name.ends_with("lora_A.weight");
      value = is_a ? initial_values(initial_distribution(name, shape), shape, seed, name, options)
                   : aten::zeros(shape, options);
      initialised.push_back(name);
    });
  });
  return initialised;
}

}  // namespace lisa
