#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/train/trainable.hpp"

namespace lisa {

/// The gradients of several micro-batches, in fp32 whatever the parameters' dtype.
class GradientSum {
 public:
  /// Takes the gradients that `backward` left in the parameters, which then have none.
  /// @param parameters the same in every call
  void take(const std::vector<TrainedParameter>& parameters) {
    const at::NoGradGuard no_gradients;
    sums_.resize(parameters.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      at::Tensor& gradient = parameters[i].value.mutable_grad();
      if (!gradient.defined()) continue;
      const at::Tensor wide = gradient.to(c10::promoteTypes(gradient.scalar_type(), at::kFloat));
      if (sums_[i].defined())
        sums_[i].add_(wide);
      else
        sums_[i] = wide;
      gradient = at::Tensor();
    }
  }

  /// A gradient for each parameter; undefined where none reached it.
  [[nodiscard]] const std::vector<at::Tensor>& tensors() const { return sums_; }
  [[nodiscard]] std::vector<at::Tensor>& tensors() { return sums_; }

  void clear() { sums_.clear(); }

 private:
  std::vector<at::Tensor> sums_;
};

/// Norm of all gradients together. @param gradients may hold undefined ones
[[nodiscard]] inline double gradient_norm(const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_gradients;
  std::vector<at::Tensor> defined;
  for (const at::Tensor& gradient : gradients)
    if (gradient.defined()) defined.push_back(gradient);
  return defined.empty() ? 0 : aten::stack(at::_foreach_norm(defined, 2)).norm().item<double>();
}

/// Scales gradients down in place, so that their common norm is `max_norm` at most (Pascanu et al. 2013).
/// @return the norm before
inline double clip_gradient_norm(const std::vector<at::Tensor>& gradients, double max_norm) {
  const double norm = gradient_norm(gradients);
  const double factor = max_norm / (norm + 1e-6);  // as torch.nn.utils.clip_grad_norm_
  if (factor >= 1) return norm;
  const at::NoGradGuard no_gradients;
  std::vector<at::Tensor> defined;
  for (const at::Tensor& gradient : gradients)
    if (gradient.defined()) defined.push_back(gradient);
  at::_foreach_mul_(defined, factor);
  return norm;
}

}  // namespace lisa
