#pragma once

#include <CLI/CLI.hpp>

namespace lisa::program {

/// `lisa chat`: a conversation about images at a terminal.
void add_chat_command(CLI::App& app);

}  // namespace lisa::program
