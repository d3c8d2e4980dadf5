#pragma once

#include <c10/core/Device.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Exception.h>

#include <string>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"

namespace lisa {

/// Throws InputError unless tensors can live on `device`: the CPU, or a GPU of this machine where libtorch has its CUDA
/// half. The message says which of the two is missing.
inline void require_device(c10::Device device) {
  if (device.is_cpu()) return;
  const auto refuse = [&](const std::string& expected) {
    throw InputError("device", found_expected(quoted(device.str()), expected));
  };
  if (!device.is_cuda()) refuse("cpu or cuda[:index]");
  if (!c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA))
    refuse("cpu: this program was built without CUDA (configure with -DLISA_CUDA=ON)");
  // Without a driver c10 warns in several lines; the error says it in one.
  struct Silent final : c10::WarningHandler {
    void process(const c10::Warning& /*warning*/) override {}
  };
  Silent silent;
  const c10::WarningUtils::WarningHandlerGuard guard(&silent);
  const int gpus = c10::impl::getDeviceGuardImpl(c10::DeviceType::CUDA)->deviceCount();
  if (gpus == 0) refuse("cpu: no GPU that CUDA can use was found on this machine");
  if (device.has_index() && device.index() >= gpus)
    refuse("an index below " + std::to_string(gpus) + ", the number of GPUs of this machine");
}

}  // namespace lisa
