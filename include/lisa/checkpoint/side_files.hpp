#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// The files beside the weights that belong to a checkpoint or a CLIP folder.
inline constexpr std::array<std::string_view, 9> side_files{
    "config.json",           "generation_config.json",  "preprocessor_config.json", "tokenizer.model", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",        "vocab.json"};

/// Copies the files beside the weights that are there.
/// @param torch_dtype  replaces config.json's, where given
/// @throws IoError, FormatError
inline void copy_side_files(const std::filesystem::path& from, const std::filesystem::path& to,
                            const std::optional<std::string_view>& torch_dtype = std::nullopt) {
  for (const std::string_view name : side_files) {
    std::error_code ignored;
    if (!std::filesystem::exists(std::filesystem::symlink_status(from / name, ignored))) continue;
    const MappedFile file(from / name);
    if (name == "config.json" && torch_dtype) {
      Json config = parse_json(file.text(), file.name());
      if (config.is_object()) config["torch_dtype"] = *torch_dtype;
      write_file(to / name, config.dump(2) + "\n");
    } else {
      write_file(to / name, file.text());
    }
    file.require_intact();
  }
}

}  // namespace lisa
