#pragma once

#include <CLI/CLI.hpp>

namespace lisa::program {

/// `lisa segment`: questions about images, answered into files.
void add_segment_command(CLI::App& app);

}  // namespace lisa::program
