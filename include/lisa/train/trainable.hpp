#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/model/part.hpp"
#include "lisa/nn/parameter.hpp"

namespace lisa {

/// Which parts of a model train. The rest is frozen in the dtype that it is stored in. SAM's prompt encoder never
/// trains.
struct TrainableParts {
  bool lora = false;          ///< adapters of the projections that `Spec::lora` names
  bool lm_head = false;       ///< weights of the language model's output
  bool embed_tokens = false;  ///< weights of its input
  bool llm = false;           ///< all its weights, those two included, adapters not
  bool vision_tower = false;
  bool visual_projector = false;
  bool seg_projector = false;
  bool image_encoder = false;
  bool mask_decoder = false;
  bool operator==(const TrainableParts&) const = default;
};

/// The paper's fine-tuning (LISA train_ds.py).
inline constexpr TrainableParts lisa_recipe{
    .lora = true, .lm_head = true, .embed_tokens = true, .seg_projector = true, .mask_decoder = true};

/// Every weight, for small models that are trained from scratch.
inline constexpr TrainableParts everything{.llm = true,
                                           .vision_tower = true,
                                           .visual_projector = true,
                                           .seg_projector = true,
                                           .image_encoder = true,
                                           .mask_decoder = true};

/// A parameter that trains: a handle on the model's own tensor, which requires a gradient.
struct TrainedParameter {
  std::string name;  ///< as in a checkpoint; an adapter's as PEFT names it
  at::Tensor value;
  Part part = Part::llm;
};

/// Whether a weight of this name trains; adapters are no weights.
[[nodiscard]] inline bool trains(const TrainableParts& parts, Part part, std::string_view name) {
  switch (part) {
    case Part::llm:
      return parts.llm || (parts.lm_head && name == "lm_head.weight") ||
             (parts.embed_tokens && name == "model.embed_tokens.weight");
    case Part::vision_tower:
      return parts.vision_tower;
    case Part::visual_projector:
      return parts.visual_projector;
    case Part::seg_projector:
      return parts.seg_projector;
    case Part::image_encoder:
      return parts.image_encoder;
    case Part::mask_decoder:
      // Of the prompt encoder LISA reads a constant and a positional matrix, neither of which is learnt.
      return parts.mask_decoder && !name.starts_with("model.visual_model.prompt_encoder.");
  }
  return false;
}

namespace detail {

/// Memory of its own, because weights may be views of files that are mapped for reading.
inline void make_trained(at::Tensor& value) { value = value.detach().clone().requires_grad_(true); }

inline void make_frozen(at::Tensor& value) {
  if (value.requires_grad()) value = value.detach();
}

}  // namespace detail

/// Makes the chosen parts of a model require gradients and everything else not.
/// @return the parameters that train, in the order of the model's parts and names
/// @throws InputError when adapters are to train that the model has no tensors for (see `initialise_adapters`), when a
///         tensor that is to train is undefined, or nothing is to train; the model is then unchanged
template <ModelSpec S>
[[nodiscard]] std::vector<TrainedParameter> set_trainable(Lisa<S>& model, const TrainableParts& parts) {
  const auto for_each = [&](auto&& visit) {
    model.for_each_part([&](Part part, auto& module, const std::string& prefix) {
      module.for_each_parameter(prefix, [&](const std::string& name, at::Tensor& value, const Shape&) {
        visit(part, name, value, trains(parts, part, name));
      });
    });
    if constexpr (requires { model.llm.for_each_adapter([](const std::string&, at::Tensor&, const Shape&) {}); })
      model.llm.for_each_adapter(
          [&](const std::string& name, at::Tensor& value, const Shape&) { visit(Part::llm, name, value, parts.lora); });
  };
  Defects missing;
  for_each([&](Part, const std::string& name, const at::Tensor& value, bool trained) {
    if (trained && !value.defined()) missing.add(printable(name) + ": no values");
  });
  if (!missing.empty()) throw InputError("trainable parts", missing.report("tensors cannot train"));
  std::vector<TrainedParameter> trained_parameters;
  for_each([&](Part part, const std::string& name, at::Tensor& value, bool trained) {
    if (!value.defined()) return;
    if (!trained) return detail::make_frozen(value);
    detail::make_trained(value);
    trained_parameters.push_back({name, value, part});
  });
  if (trained_parameters.empty())
    throw InputError("trainable parts", "found none in " + std::string(S::name) + ", expected at least one");
  return trained_parameters;
}

/// Elements of all parameters.
[[nodiscard]] inline std::int64_t element_count(const std::vector<TrainedParameter>& parameters) {
  std::int64_t count = 0;
  for (const TrainedParameter& parameter : parameters) count += parameter.value.numel();
  return count;
}

/// Gives every adapter of the language model the generator that draws what it drops in training; an undefined one ends
/// dropping, as it must before validation.
template <ModelSpec S>
void set_adapter_dropout(Lisa<S>& model, const at::Generator& generator) {
  if constexpr (requires { model.llm.for_each_projection([](const std::string&, auto&) {}); })
    model.llm.for_each_projection(
        [&](const std::string&, auto& projection) { projection.dropout_generator = generator; });
}

}  // namespace lisa
