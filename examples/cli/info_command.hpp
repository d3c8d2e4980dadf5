#pragma once

#include <CLI/CLI.hpp>

namespace lisa::program {

/// `lisa info`: what a checkpoint or preset consists of, or the C++ specification of a checkpoint.
void add_info_command(CLI::App& app);

}  // namespace lisa::program
