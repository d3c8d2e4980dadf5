#pragma once

// What process_group_gloo.hpp takes from NCCL, for the same one source file of a program. lisa::cuda defines LISA_NCCL
// where it found nccl.h.

#if defined(LISA_NCCL) && !defined(USE_C10D_NCCL)
#define USE_C10D_NCCL  // ProcessGroupNCCL.hpp is empty without it
#endif

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <utility>

#include "lisa/base/error.hpp"

#if defined(LISA_NCCL)
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

namespace lisa::detail {

#if defined(LISA_NCCL)

/// The operations of a group on tensors on GPUs, a GPU for each process. @throws c10::Error without a GPU
/// @param patience of one operation
[[nodiscard]] inline c10::intrusive_ptr<c10d::Backend> connect_gpus(c10::intrusive_ptr<c10d::Store> store, int rank,
                                                                    int size, std::chrono::milliseconds patience) {
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = patience;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(std::move(store), rank, size, std::move(options));
}

#else

/// @throws InputError: there is no NCCL
[[nodiscard]] inline c10::intrusive_ptr<c10d::Backend> connect_gpus(c10::intrusive_ptr<c10d::Store> /*store*/,
                                                                    int /*rank*/, int /*size*/,
                                                                    std::chrono::milliseconds /*patience*/) {
  throw InputError("device", found_expected("tensors on a GPU in a group of processes",
                                            "tensors on the CPU: this program was built without NCCL"));
}

#endif

}  // namespace lisa::detail
