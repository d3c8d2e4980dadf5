#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lisa {

/// A token of added_tokens.json: text that is never split, with an id behind those of tokenizer.model.
struct AddedToken {
  std::string text;
  std::int64_t id = 0;
};

/// A token with a role (bos_token, eos_token, ..., additional_special_tokens) in special_tokens_map.json or
/// tokenizer_config.json.
struct SpecialToken {
  std::string role;
  std::string text;
  /// Written as a plain string in special_tokens_map.json: takes the white space on both sides with it, as every added
  /// token does; the two flags below count only for tokens written as objects.
  bool plain = false;
  bool strips_left = false;
  bool strips_right = false;
};

/// What a tokenizer folder says beside tokenizer.model. The defaults are those of transformers 4.31's LlamaTokenizer.
struct TokenizerSettings {
  std::vector<AddedToken> added;
  std::vector<SpecialToken> special{{.role = "bos_token", .text = "<s>"},
                                    {.role = "eos_token", .text = "</s>"},
                                    {.role = "unk_token", .text = "<unk>"}};
  bool add_bos = true;
  bool add_eos = false;
  /// transformers' `legacy`: every piece of text between added tokens gets a leading blank of its own (LISA's
  /// checkpoints). Without it only text at the start does (LLaVA-1.5).
  bool legacy = true;
};

}  // namespace lisa
