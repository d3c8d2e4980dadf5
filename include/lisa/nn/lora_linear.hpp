#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <string>

#include "lisa/aten/operators.hpp"
#include "lisa/config/lora.hpp"
#include "lisa/nn/linear.hpp"
#include "lisa/nn/linear_operator.hpp"

namespace lisa {

/// A linear layer that can carry a low-rank adapter: y = W x + scaling * B (A x) (Hu et al. 2021). Without loaded
/// adapter tensors it is the plain layer, which is also its state after `merge_adapter`.
/// @tparam Adapted whether LoraConfig names this projection
template <dim In, dim Out, LoraConfig L, bool Adapted>
struct LoraLinear {
  static_assert(L.rank >= 0, "LoraLinear: rank must not be negative");
  static constexpr bool has_adapter = Adapted && L.rank > 0;
  static constexpr dim adapter_parameter_count = has_adapter ? L.rank * (In + Out) : 0;

  Linear<In, Out, Bias::no> base;
  at::Tensor lora_A;  // [rank, In], undefined unless an unmerged adapter is loaded
  at::Tensor lora_B;  // [Out, rank]
  /// Draws which inputs of the adapter are dropped, with probability L.dropout; undefined outside training, where
  /// nothing is dropped. Layers may share one.
  at::Generator dropout_generator{};

  /// x [..., In] -> [..., Out].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const {
    at::Tensor y = base.forward(x);
    if constexpr (has_adapter) {
      if (adapts()) y = y.add(apply_linear(apply_linear(dropped(x), lora_A), lora_B), scaling(L));
    }
    return y;
  }

  /// residual + forward(x), [..., Out].
  [[nodiscard]] at::Tensor forward_onto(const at::Tensor& residual, const at::Tensor& x) const {
    return adapts() ? residual.add(forward(x)) : add_linear(residual, x, base.weight);
  }

  /// Whether a loaded adapter adds to what the base layer gives.
  [[nodiscard]] bool adapts() const {
    if constexpr (has_adapter) return lora_A.defined();
    return false;
  }

  /// Folds a loaded adapter into the weight (computed in fp32) and drops it. Does nothing without one, and beside a
  /// quantised weight, whose steps are coarser than an adapter's changes: the adapter then stays.
  void merge_adapter() {
    if (!lora_A.defined() || is_quantised(base.weight)) return;
    const at::Tensor update = lora_B.to(at::kFloat).matmul(lora_A.to(at::kFloat));  // [Out, In]
    base.weight = base.weight.to(at::kFloat).add(update, scaling(L)).to(base.weight.scalar_type());
    lora_A = at::Tensor();
    lora_B = at::Tensor();
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    base.for_each_parameter(prefix, visit);
  }

  /// The adapter's tensors under PEFT's names; nothing for a projection without adapter.
  template <class Visitor>
  void for_each_adapter(const std::string& prefix, Visitor&& visit) {
    if constexpr (has_adapter) {
      visit(scoped(prefix, "lora_A.weight"), lora_A, Shape{L.rank, In});
      visit(scoped(prefix, "lora_B.weight"), lora_B, Shape{Out, L.rank});
    }
  }

 private:
  /// Dropout (Srivastava et al. 2014): what is kept is scaled, so that the mean stays.
  [[nodiscard]] at::Tensor dropped(const at::Tensor& x) const {
    if (L.dropout <= 0 || !dropout_generator.defined()) return x;
    return x.mul(aten::empty_like(x).bernoulli_(1 - L.dropout, dropout_generator).div_(1 - L.dropout));
  }
};

}  // namespace lisa
