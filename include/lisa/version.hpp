#pragma once

/// The one source of the version: CMake reads these lines, `lisa --version` prints them.
#define LISA_VERSION_MAJOR 0
#define LISA_VERSION_MINOR 1
#define LISA_VERSION_PATCH 0

#include <string_view>

namespace lisa {

/// Version of the headers in use, "major.minor.patch".
inline constexpr std::string_view version = "0.1.0";

}  // namespace lisa
