#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_fields.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/text/sentencepiece_model.hpp"
#include "lisa/text/tokenizer.hpp"
#include "lisa/text/tokenizer_settings.hpp"

namespace lisa {

/// Largest tokenizer.model that is read, in bytes; LLaMA's has half a megabyte.
inline constexpr std::uint64_t max_tokenizer_bytes = std::uint64_t{64} << 20;

namespace detail {

inline constexpr std::array<std::string_view, 7> special_roles{"bos_token", "eos_token", "unk_token", "sep_token",
                                                               "pad_token", "cls_token", "mask_token"};
/// Highest id that an added token may claim.
inline constexpr std::int64_t highest_token_id = std::int64_t{1} << 24;

/// A special token written as a string or as an object with `content` and strip flags; nothing where it is neither.
/// @param plain whether a string means a token that strips its neighbours
inline std::optional<SpecialToken> special_token(const Json& value, const std::string& role, bool plain,
                                                 Defects& defects) {
  if (value.is_string()) return SpecialToken{.role = role, .text = value.get<std::string>(), .plain = plain};
  JsonFields fields(value, defects, role + ".");
  if (!value.is_object()) return std::nullopt;
  fields.require("content", "the token's text");
  const auto content = fields.text("content");
  if (!content) return std::nullopt;
  return SpecialToken{.role = role,
                      .text = *content,
                      .strips_left = fields.boolean("lstrip").value_or(false),
                      .strips_right = fields.boolean("rstrip").value_or(false)};
}

/// Puts a token in place of the one with the same role.
inline void replace_role(std::vector<SpecialToken>& special, SpecialToken token) {
  std::erase_if(special, [&](const SpecialToken& old) { return old.role == token.role; });
  special.push_back(std::move(token));
}

inline void read_special_tokens(const Json& file, bool plain, TokenizerSettings& settings, Defects& defects) {
  JsonFields fields(file, defects);
  for (const std::string_view role : special_roles) {
    const Json* value = fields.find(role);
    if (value == nullptr) continue;
    if (auto token = special_token(*value, std::string(role), plain, defects))
      replace_role(settings.special, *std::move(token));
  }
  const std::string more = "additional_special_tokens";
  if (const Json* list = fields.find(more)) {
    if (!list->is_array()) return fields.wrong(more, *list, "an array");
    std::erase_if(settings.special, [&](const SpecialToken& old) { return old.role == more; });
    for (const Json& value : *list)
      if (auto token = special_token(value, more, true, defects)) settings.special.push_back(*std::move(token));
  }
}

/// added_tokens.json: text -> id.
inline void read_added_tokens(const Json& file, TokenizerSettings& settings, Defects& defects) {
  JsonFields fields(file, defects);
  if (!file.is_object()) return;
  for (const auto& [text, value] : file.items()) {
    if (value.is_null()) fields.wrong(text, value, "an id");
    if (const auto id = fields.integer(text, 0, highest_token_id)) settings.added.push_back({text, *id});
  }
}

/// `added_tokens_decoder` of tokenizer_config.json, where later versions of transformers keep the added tokens:
/// id -> object with `content`.
inline void read_added_tokens_decoder(const Json& object, TokenizerSettings& settings, Defects& defects) {
  const std::string place = "added_tokens_decoder";
  JsonFields fields(object, defects, place + ".");
  if (!object.is_object()) return;
  for (const auto& [key, value] : object.items()) {
    std::int64_t id = -1;
    const auto [rest, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || rest != key.data() + key.size() || id < 0 || id > highest_token_id) {
      fields.wrong(key, value, "an id as the key");
      continue;
    }
    if (const auto token = special_token(value, place + "." + key, true, defects))
      settings.added.push_back({token->text, id});
  }
}

/// Runs `read` on a JSON file of the folder, where it exists. @throws FormatError with everything `read` found wrong
template <class Read>
bool read_optional_json(const std::filesystem::path& path, Read&& read) {
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, ignored))) return false;
  const Json file = read_json(path);
  Defects defects;
  read(file, defects);
  if (!defects.empty()) throw FormatError(shown_path(path), "", defects.report("defects"));
  return true;
}

}  // namespace detail

/// What tokenizer_config.json, special_tokens_map.json and added_tokens.json of a folder say, in the order in which
/// transformers 4.31 applies them; each may be absent. @throws FormatError, IoError
[[nodiscard]] inline TokenizerSettings read_tokenizer_settings(const std::filesystem::path& folder) {
  TokenizerSettings settings, newer;
  detail::read_optional_json(folder / "tokenizer_config.json", [&](const Json& file, Defects& defects) {
    JsonFields fields(file, defects);
    settings.add_bos = fields.boolean("add_bos_token").value_or(settings.add_bos);
    settings.add_eos = fields.boolean("add_eos_token").value_or(settings.add_eos);
    settings.legacy = fields.boolean("legacy").value_or(settings.legacy);
    detail::read_special_tokens(file, false, settings, defects);
    if (const Json* decoder = fields.find("added_tokens_decoder"))
      detail::read_added_tokens_decoder(*decoder, newer, defects);
  });
  detail::read_optional_json(folder / "special_tokens_map.json", [&](const Json& file, Defects& defects) {
    detail::read_special_tokens(file, true, settings, defects);
  });
  const bool found = detail::read_optional_json(folder / "added_tokens.json", [&](const Json& file, Defects& defects) {
    detail::read_added_tokens(file, settings, defects);
  });
  if (!found) settings.added = std::move(newer.added);
  return settings;
}

/// The tokenizer of a checkpoint folder: tokenizer.model and the JSON files beside it.
/// @throws IoError, FormatError, MismatchError, LimitError naming the file
[[nodiscard]] inline Tokenizer load_tokenizer(const std::filesystem::path& folder) {
  const MappedFile file(folder / "tokenizer.model");
  if (file.size() > max_tokenizer_bytes)
    throw LimitError(
        file.name(), "",
        found_expected(std::to_string(file.size()) + " bytes", "at most " + std::to_string(max_tokenizer_bytes)));
  if (file.text().starts_with("version https://git-lfs"))
    throw FormatError(file.name(), "",
                      found_expected("a Git LFS pointer (run `git lfs pull`)", "a SentencePiece model"));
  SentencePieceModel model = SentencePieceModel::parse(file.text(), file.name());
  file.require_intact();
  return Tokenizer(std::move(model), read_tokenizer_settings(folder), shown_path(folder));
}

}  // namespace lisa
