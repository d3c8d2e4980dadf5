#pragma once

#include <CLI/CLI.hpp>

namespace lisa::program {

/// `lisa data check` and `lisa data show`: what a data set holds, whether it can be used, and what it looks like.
void add_data_command(CLI::App& app);

}  // namespace lisa::program
