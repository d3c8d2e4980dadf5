#pragma once

#include <cstddef>

#include "access_history.hpp"

namespace simt {

/// An access that the running kernel makes, as the compiler's instrumentation or an emulated operation reports it.
/// Accesses outside of kernels, and to a thread's own stack, pass without a trace.
void observe(Access access, const void* address, std::size_t bytes, const void* pc);

}  // namespace simt
