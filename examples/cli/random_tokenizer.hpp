#pragma once

#include <filesystem>

#include "lisa/config/dim.hpp"

namespace lisa::program {

/// Writes the files of a tokenizer with `vocab` ids into a folder: tokenizer.model (SentencePiece BPE with byte
/// fallback: control and byte pieces, characters, the words of LISA's prompts, made-up words for the rest),
/// added_tokens.json with LISA's tokens at the end, special_tokens_map.json and tokenizer_config.json.
/// @throws InputError when `vocab` is too small for the control and byte pieces, IoError
void write_random_tokenizer(const std::filesystem::path& folder, dim vocab, dim context);

}  // namespace lisa::program
