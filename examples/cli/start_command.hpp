#pragma once

#include <CLI/CLI.hpp>

namespace lisa::program {

/// `lisa start`: makes a checkpoint to train from out of LLaVA's and SAM's base weights.
void add_start_command(CLI::App& app);

}  // namespace lisa::program
