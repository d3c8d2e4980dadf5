#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "lisa/checkpoint/tensor_file.hpp"

namespace lisa::program {

/// The options that say in which files tensors are written; shared by the commands that write checkpoints.
struct TensorFileChoice {
  std::string format;
  std::string max_shard_size = "5GB";
};

void add_tensor_file_options(CLI::App& command, TensorFileChoice& choice);

/// @throws InputError unless it is safetensors or bin
[[nodiscard]] TensorFileFormat parse_tensor_file_format(const std::string& name);

/// Bytes of a size such as 5GB, 300MB or 4GiB; a number alone counts bytes.
/// @throws InputError for anything else, and for 0
[[nodiscard]] std::uint64_t parse_byte_size(const std::string& text);

}  // namespace lisa::program
