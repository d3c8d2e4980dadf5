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
#include "lisa/train/trainable_parts.hpp"

namespace lisa {

/// A parameter that trains: a handle on the model's own tensor, which requires a gradient.
struct TrainedParameter {
  std::string name;  ///< as in a checkpoint; an adapter's as PEFT names it
  at::Tensor value;
  Part part = Part::llm;
};

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
///         tensor that is to train is undefined or quantised, or nothing is to train; the model is then unchanged
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
    if (trained && value.defined() && !value.is_floating_point())
      missing.add(printable(name) + ": quantised, beside which only adapters train");
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
