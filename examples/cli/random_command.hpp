#pragma once

#include <CLI/CLI.hpp>

namespace lisa::program {

/// `lisa random`: writes a checkpoint of a compiled specification with random weights, for trying out and measuring.
void add_random_command(CLI::App& app);

}  // namespace lisa::program
