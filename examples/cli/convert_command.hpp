#pragma once

#include <CLI/CLI.hpp>

namespace lisa::program {

/// `lisa convert`: writes a checkpoint in another file format, dtype or number of files, with an adapter merged.
void add_convert_command(CLI::App& app);

}  // namespace lisa::program
