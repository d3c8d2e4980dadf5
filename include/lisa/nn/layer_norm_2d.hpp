#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <optional>
#include <string>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/own_kernels.hpp"
#include "lisa/cpu/stepwise_layer_norm.hpp"
#include "lisa/nn/parameter.hpp"

namespace lisa {

/// SAM's LayerNorm2d: normalises every position of a feature map over its channels. Feature maps are held channels
/// last, so it works on the last dimension (segment_anything/modeling/common.py works on dimension 1).
template <dim N>
struct LayerNorm2d {
  static_assert(N > 0, "LayerNorm2d: width must be positive");
  static constexpr dim parameter_count = 2 * N;

  double eps = 1e-6;
  at::Tensor weight{};  // [N]
  at::Tensor bias{};    // [N]

  /// x [..., N] -> [..., N].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const {
    if (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble) {
      return aten::layer_norm(x, {N}, weight, bias, eps);
    }
    // In reduced precision the original rounds after every step, which a fused normalisation would not reproduce.
    if (const auto y = in_one_pass(x)) return *y;
    const at::Tensor centred = x.sub(x.mean(-1, /*keepdim=*/true));
    const at::Tensor variance = centred.pow(2).mean(-1, /*keepdim=*/true);
    return centred.div(variance.add(eps).sqrt()).mul(weight).add(bias);
  }

  template <class Visitor>
  void for_each_parameter(const std::string& prefix, Visitor&& visit) {
    visit(scoped(prefix, "weight"), weight, Shape{N});
    visit(scoped(prefix, "bias"), bias, Shape{N});
  }

 private:
  /// The same steps by the CPU's own kernel; nothing where it does not apply.
  [[nodiscard]] std::optional<at::Tensor> in_one_pass(const at::Tensor& x) const {
    static const cpu::StepwiseLayerNormKernel kernel =
        cpu::own_kernels_enabled() ? cpu::find_stepwise_layer_norm(N) : nullptr;
    const auto plain = [](const at::Tensor& t) {
      return t.device().is_cpu() && t.scalar_type() == at::kBFloat16 && t.is_contiguous() &&
             !(at::GradMode::is_enabled() && t.requires_grad());
    };
    if (kernel == nullptr || !plain(x) || !plain(weight) || !plain(bias)) return std::nullopt;
    const auto bits = [](const at::Tensor& t) { return static_cast<const cpu::Bf16Bits*>(t.const_data_ptr()); };
    at::Tensor y = aten::empty(x.sizes(), x.options());
    const cpu::StepwiseLayerNorm norm{.x = bits(x),
                                      .weight = bits(weight),
                                      .bias = bits(bias),
                                      .y = static_cast<cpu::Bf16Bits*>(y.mutable_data_ptr()),
                                      .width = N,
                                      .eps = static_cast<float>(eps)};
    at::parallel_for(0, x.numel() / N, std::max<dim>(1, (dim{1} << 15) / N),
                     [&](dim begin, dim end) { kernel(norm, begin, end); });
    return y;
  }
};

}  // namespace lisa
