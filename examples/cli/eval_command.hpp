#pragma once

#include <CLI/CLI.hpp>

namespace lisa::program {

/// `lisa eval`: scores of a model on a data set, next to baselines.
void add_eval_command(CLI::App& app);

}  // namespace lisa::program
