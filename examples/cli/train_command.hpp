#pragma once

#include <CLI/CLI.hpp>

namespace lisa::program {

/// `lisa train`: trains a model from scratch or from a checkpoint, alone or among several processes.
void add_train_command(CLI::App& app);

}  // namespace lisa::program
