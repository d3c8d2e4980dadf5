#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <initializer_list>

#include "lisa/cpu/own_kernels.hpp"
#include "lisa/gpu/kernels.hpp"

namespace lisa::gpu {

/// What decides about a kernel apart from shapes, for one operand.
struct KernelOperand {
  c10::Device device = c10::DeviceType::CPU;
  c10::ScalarType dtype = c10::kFloat;
  bool records = false;  ///< autograd would have to know about it
};

[[nodiscard]] inline KernelOperand kernel_operand(const at::Tensor& tensor) {
  return {tensor.device(), tensor.scalar_type(), at::GradMode::is_enabled() && tensor.requires_grad()};
}

/// Whether a kernel without a backward pass can take these operands together: one device, one dtype, no gradient.
[[nodiscard]] inline bool kernel_operands_agree(std::initializer_list<KernelOperand> operands) {
  const KernelOperand& first = *operands.begin();
  for (const KernelOperand& operand : operands)
    if (operand.records || operand.device != first.device || operand.dtype != first.dtype) return false;
  return true;
}

/// What the program brings along.
struct KernelEnvironment {
  bool linked = kernels_linked;               ///< lisa::cuda is part of the program
  bool enabled = cpu::own_kernels_enabled();  ///< LISA_KERNELS is not `reference`
};

/// Whether an operator asks its CUDA kernel at all; the kernel's own refusal decides about dtype and shape.
[[nodiscard]] inline bool kernels_apply(std::initializer_list<KernelOperand> operands,
                                        const KernelEnvironment& environment = {}) {
  return environment.linked && environment.enabled && operands.begin()->device.is_cuda() &&
         kernel_operands_agree(operands);
}

}  // namespace lisa::gpu
