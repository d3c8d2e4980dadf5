#pragma once

#include <string>

namespace simt {

/// "file:line" of the call that returns to `pc`, found by addr2line; an offset into the program where that fails.
[[nodiscard]] std::string source_line(const void* pc);

}  // namespace simt
