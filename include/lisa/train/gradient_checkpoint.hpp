#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

#include "lisa/train/training_forward.hpp"

namespace lisa {

namespace detail {

/// A generator's state. Drawing from it goes on elsewhere.
inline at::Tensor random_state(at::Generator& generator) {
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

inline void set_random_state(at::Generator& generator, const at::Tensor& state) {
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

/// What the backward pass needs to compute a function again.
struct RecordedFunction : torch::CustomClassHolder {
  RecordedFunction(TensorFunction recorded, at::Generator used)
      : function(std::move(recorded)), generator(std::move(used)) {}

  TensorFunction function;
  at::Generator generator;
  at::Tensor state_before;  // of the generator
};

/// Computes a function without keeping what its backward pass needs, and computes it again in that pass.
struct RecomputedFunction : torch::autograd::Function<RecomputedFunction> {
  using Context = torch::autograd::AutogradContext;

  static at::Tensor forward(Context* context, const c10::intrusive_ptr<RecordedFunction>& recorded,
                            at::TensorList inputs) {
    context->saved_data["recorded"] = c10::IValue::make_capsule(recorded);
    context->save_for_backward(inputs.vec());
    if (recorded->generator.defined()) recorded->state_before = random_state(recorded->generator);
    return recorded->function(inputs.vec());  // gradients are off here
  }

  static torch::autograd::variable_list backward(Context* context, const torch::autograd::variable_list& gradients) {
    const auto recorded =
        c10::static_intrusive_pointer_cast<RecordedFunction>(context->saved_data["recorded"].toCapsule());
    std::vector<at::Tensor> inputs;
    for (const at::Tensor& saved : context->get_saved_variables())
      inputs.push_back(saved.detach().requires_grad_(saved.requires_grad()));
    const at::Tensor output = compute_again(*recorded, inputs);
    // The gradients of parameters inside the function arrive where they belong on the way.
    torch::autograd::backward({output}, {gradients.front()});
    torch::autograd::variable_list results{at::Tensor()};  // the function itself has none
    for (const at::Tensor& input : inputs) results.push_back(input.grad());
    return results;
  }

 private:
  /// With the random numbers of the first time; the generator then goes on where it was.
  static at::Tensor compute_again(RecordedFunction& recorded, const std::vector<at::Tensor>& inputs) {
    const at::AutoGradMode with_gradients(true);
    if (!recorded.generator.defined()) return recorded.function(inputs);
    const at::Tensor now = random_state(recorded.generator);
    set_random_state(recorded.generator, recorded.state_before);
    at::Tensor output = recorded.function(inputs);
    set_random_state(recorded.generator, now);
    return output;
  }
};

}  // namespace detail

/// Runs functions so that the backward pass computes each again instead of keeping its intermediate results (Chen et
/// al. 2016): memory for time. Values and gradients are those of a plain run. For `TrainingForwardOptions::run`.
/// @param generator the one that the functions draw random numbers from, such as that of the adapters' dropout; may be
///                  undefined
[[nodiscard]] inline FunctionRunner gradient_checkpoint(const at::Generator& generator = {}) {
  return [generator](const TensorFunction& function, const std::vector<at::Tensor>& inputs) {
    std::vector<at::Tensor> variables = inputs;
    bool any = false;
    for (const at::Tensor& input : inputs) any = any || input.requires_grad();
    // No backward pass would come by for the parameters inside if no input asked for one.
    if (!any && at::GradMode::is_enabled()) variables.front() = inputs.front().detach().requires_grad_(true);
    return detail::RecomputedFunction::apply(c10::make_intrusive<detail::RecordedFunction>(function, generator),
                                             at::TensorList(variables));
  };
}

}  // namespace lisa
